/** `/openapi/v3` and the documents below it. A document's URL carries its hash, so clients may keep what they got for ever. */
import { openApiDocuments, openApiIndex } from '../resources/openapi.js';
import { type Document, documentOf, sendDocument } from './discovery.js';
import { queryOf } from './query.js';
import { plainAttributes, type Route } from './routes.js';

const root = '/openapi/v3';
const jsonType = 'application/json';
const keepMs = 365 * 24 * 60 * 60 * 1000;

export function openApiRoutes(now: () => Date): Route[] {
  let index: Document | undefined;
  const route = (path: string, handler: Route['handler']): Route => ({
    method: 'GET',
    path,
    audience: 'any-authenticated',
    attributes: plainAttributes('GET', path),
    handler,
  });
  return [
    route(root, (request, reply) => {
      index ??= documentOf(openApiIndex());
      return sendDocument(request, reply, index);
    }),
    ...openApiDocuments().map(({ path, body, hash }) =>
      route(`${root}/${path}`, (request, reply) => {
        // Only the URL with the right hash names what will never change.
        if (queryOf(request).get('hash') === hash) {
          reply.header('cache-control', 'public, immutable').header('expires', new Date(now().getTime() + keepMs).toUTCString());
        }
        return sendDocument(request, reply, { body, contentType: jsonType, etag: `"${hash}"` });
      }),
    ),
  ];
}

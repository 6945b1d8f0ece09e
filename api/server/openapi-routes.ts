/**
 * `/openapi/v3` and the documents below it: a document's URL carries its hash, so clients may keep what they got for ever. `/openapi/v2` is
 * one document, in protobuf for those who ask for it.
 */
import type { Kind } from '../resources/kinds.js';
import { type OpenApiDocument, openApiDocuments, openApiIndex } from '../resources/openapi.js';
import { openApiV2 } from '../resources/openapi-v2.js';
import { swaggerProtobuf } from '../resources/openapi-v2-protobuf.js';
import { type Document, documentOf, sendDocument } from './discovery.js';
import { mediaRanges } from './negotiation.js';
import { queryOf } from './query.js';
import { plainAttributes, type Route } from './routes.js';

const root = '/openapi/v3';
const jsonType = 'application/json';
const keepMs = 365 * 24 * 60 * 60 * 1000;

const protobufAccepted = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
/** With a dot where the name in Accept has an `@`: Go's parser of media types refuses that one. */
const protobufType = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';
const protobufNames = new Set([protobufAccepted, protobufType]);

/** The first of the two forms that the client names; JSON for whoever does not care. */
function wantsProtobuf(accept: string | undefined): boolean {
  const known = mediaRanges(accept ?? '').find(({ type }) => protobufNames.has(type) || type === jsonType || type === '*/*');
  return known !== undefined && protobufNames.has(known.type);
}

function documentsV2(documents: readonly OpenApiDocument[]): { readonly json: Document; readonly protobuf: Document } {
  const swagger = openApiV2(documents);
  const json = documentOf(swagger);
  return {
    json,
    protobuf: { body: swaggerProtobuf(swagger), contentType: protobufType, etag: json.etag.replace(/"$/, '-protobuf"') },
  };
}

/** @param kinds all that are served */
export function openApiRoutes(kinds: readonly Kind[], now: () => Date): Route[] {
  const documents = openApiDocuments(kinds);
  let index: Document | undefined;
  let v2: ReturnType<typeof documentsV2> | undefined;
  const route = (path: string, handler: Route['handler']): Route => ({
    method: 'GET',
    path,
    audience: 'any-authenticated',
    attributes: plainAttributes('GET', path),
    handler,
  });
  return [
    route(root, (request, reply) => {
      index ??= documentOf(openApiIndex(documents));
      return sendDocument(request, reply, index);
    }),
    route('/openapi/v2', (request, reply) => {
      v2 ??= documentsV2(documents);
      return sendDocument(request, reply, wantsProtobuf(request.headers.accept) ? v2.protobuf : v2.json);
    }),
    ...documents.map(({ path, body, hash }) =>
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

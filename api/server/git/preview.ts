/** `GET …/gitsyncs/NAME/preview`: what the next sync would do, asked of whichever server is near. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { sendJson } from '../reads.js';
import type { Route } from '../routes.js';

export interface PreviewedObject {
  readonly kind: string;
  readonly name: string;
  readonly action: 'create' | 'change' | 'prune';
  /** As it is and as it would be; absent where there is none, and for kinds whose values are not to be seen. */
  readonly before?: unknown;
  readonly after?: unknown;
}

export interface Preview {
  readonly revision: string;
  readonly objects: readonly PreviewedObject[];
  /** What would go wrong, or be held back, in sentences. */
  readonly problems: readonly string[];
}

/** Throws StatusError. */
export type PreviewGitSync = (name: string) => Promise<Preview>;

export const gitPreviewRoute = (preview: PreviewGitSync): Route => ({
  method: 'GET',
  path: '/apis/flotilla.dev/v1/gitsyncs/:name/preview',
  audience: 'any-authenticated',
  attributes: ({ params }) => ({ resource: 'gitsyncs', subresource: 'preview', verb: 'get', name: params.name ?? '' }),
  async handler(request: FastifyRequest, reply: FastifyReply) {
    const { name } = request.params as { name: string };
    return sendJson(reply, 200, JSON.stringify(await preview(name)));
  },
});

/** `GET …/gitsyncs/NAME/preview`: what the next sync would do, asked of whichever server is near. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { StatusError } from '../../resources/errors.js';
import { eitherOf, holdOpen, StreamQuota } from '../http-stream.js';
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

/** Throws StatusError, or the signal's reason. */
export type PreviewGitSync = (name: string, signal: AbortSignal) => Promise<Preview>;

export interface GitPreviewOptions {
  readonly preview: PreviewGitSync;
  /** Aborts when the server stops. */
  readonly closing: AbortSignal;
  readonly limits?: { readonly all: number; readonly perIdentity: number };
}

/** Each runs git on this server for as long as its repository takes. */
const previewLimits = { all: 16, perIdentity: 4 };

export function gitPreviewRoute({ preview, closing, limits = previewLimits }: GitPreviewOptions): Route {
  const quota = new StreamQuota('previews of GitSyncs', limits);
  return {
    method: 'GET',
    path: '/apis/flotilla.dev/v1/gitsyncs/:name/preview',
    audience: 'any-authenticated',
    attributes: ({ params }) => ({ resource: 'gitsyncs', subresource: 'preview', verb: 'get', name: params.name ?? '' }),
    async handler(request: FastifyRequest, reply: FastifyReply) {
      const { name } = request.params as { name: string };
      const { signal, release } = eitherOf(holdOpen(request, reply, quota), closing);
      try {
        return sendJson(reply, 200, JSON.stringify(await preview(name, signal)));
      } catch (error) {
        if (!signal.aborted) throw error;
        throw new StatusError('ServiceUnavailable', 'the preview was given up: whoever asked has gone, or this server stops');
      } finally {
        release();
      }
    },
  };
}

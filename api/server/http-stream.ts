/** Answers that stay open: who has how many, when their client goes, and how all of them end when the server does. */
import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { StatusError } from '../resources/errors.js';
import { identityName } from './access.js';
import type { WatchSink } from './watch.js';

/** Counts streams of one sort against a limit for all and a limit for each identity. */
export class StreamQuota {
  readonly #byIdentity = new Map<string, number>();
  readonly #whenNone = new Set<() => void>();
  #open = 0;

  constructor(
    private readonly what: string,
    private readonly limits: { readonly all: number; readonly perIdentity: number },
  ) {}

  get open(): number {
    return this.#open;
  }

  /** Resolves once none is open. */
  none(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#open === 0) resolve();
      else this.#whenNone.add(resolve);
    });
  }

  /** Returns the release. Throws TooManyRequests (429). */
  take(identity: string): () => void {
    const own = this.#byIdentity.get(identity) ?? 0;
    if (own >= this.limits.perIdentity || this.#open >= this.limits.all) {
      const message = `too many ${this.what} are open (${own} by ${identity}, ${this.#open} in all); close some first`;
      throw new StatusError('TooManyRequests', message, { retryAfterSeconds: 5 });
    }
    this.#byIdentity.set(identity, own + 1);
    this.#open++;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#open--;
      const left = (this.#byIdentity.get(identity) ?? 1) - 1;
      if (left === 0) this.#byIdentity.delete(identity);
      else this.#byIdentity.set(identity, left);
      if (this.#open > 0) return;
      for (const tell of this.#whenNone) tell();
      this.#whenNone.clear();
    };
  }
}

/** Takes a place in the quota for as long as this answer lasts; the signal aborts when the client has gone. */
export function holdOpen(request: FastifyRequest, reply: FastifyReply, quota: StreamQuota): AbortSignal {
  const release = quota.take(identityName(request.identity));
  const gone = new AbortController();
  if (reply.raw.destroyed || request.raw.destroyed) {
    release();
    gone.abort();
    return gone.signal;
  }
  reply.raw.once('close', () => {
    release();
    gone.abort();
  });
  return gone.signal;
}

/** Aborts with the first of the two. Unlike `AbortSignal.any`, it leaves nothing behind in the one that outlives it. */
export function eitherOf(first: AbortSignal, second: AbortSignal): { readonly signal: AbortSignal; readonly release: () => void } {
  const either = new AbortController();
  const abort = () => either.abort();
  for (const signal of [first, second]) {
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
  }
  const release = () => {
    for (const signal of [first, second]) signal.removeEventListener('abort', abort);
  };
  return { signal: either.signal, release };
}

/** Takes the answer out of fastify's hands and sends its head at once, so that a client sees the stream open before anything happens. */
export function openStream(reply: FastifyReply, contentType: string, headers: Readonly<Record<string, string[]>> = {}): ServerResponse {
  reply.hijack();
  const raw = reply.raw;
  raw.writeHead(200, {
    ...headers,
    'content-type': contentType,
    'cache-control': 'no-cache, private',
    'x-content-type-options': 'nosniff',
  });
  raw.flushHeaders();
  return raw;
}

/** Resolves when the client has taken what was written, or is gone. */
export const drainedOrClosed = (raw: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    if (raw.destroyed || !raw.writableNeedDrain) return resolve();
    const done = () => {
      raw.off('drain', done);
      raw.off('close', done);
      resolve();
    };
    raw.on('drain', done);
    raw.on('close', done);
  });

export const watchSink = (raw: ServerResponse): WatchSink => ({
  write(chunks) {
    if (raw.destroyed || raw.writableEnded) return;
    raw.cork();
    for (const chunk of chunks) raw.write(chunk);
    raw.uncork();
  },
  get backlogBytes() {
    return raw.writableLength;
  },
  drained: () => drainedOrClosed(raw),
  end: () => void raw.end(),
  cut: () => void raw.destroy(),
});

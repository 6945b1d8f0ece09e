/** Lease keepalives of one process on one stream, each with a deadline and an answer of its own. */
import type { Clock } from '../clock.js';
import type { Endpoint, Endpoints, KeepAliveStream } from './etcd-client.js';
import { StoreUnavailable } from './store.js';

interface Pending {
  readonly resolve: (ttlMs: number) => void;
  readonly reject: (error: Error) => void;
}

export class KeepAlives {
  #session: Session | undefined;
  #closed = false;

  constructor(
    private readonly endpoints: Endpoints,
    private readonly clock: Clock,
    private readonly timeoutMs: number,
  ) {}

  /** Resolves to the TTL that the lease has from now on, 0 when it is gone. Rejects with `StoreUnavailable` when no answer came. */
  send(id: string): Promise<number> {
    if (this.#closed) return Promise.reject(new StoreUnavailable('the store is closed'));
    this.#session ??= new Session(this.endpoints.preferred, (session) => {
      if (this.#session === session) this.#session = undefined;
      if (!this.#closed) this.endpoints.after(session.endpoint);
    });
    const session = this.#session;
    return new Promise((resolve, reject) => {
      const cancel = this.clock.after(this.timeoutMs, () => session.end(new Error(`no answer within ${this.timeoutMs} ms`)));
      session.send(id, {
        resolve: (ttlMs) => {
          cancel();
          resolve(ttlMs);
        },
        reject: (error) => {
          cancel();
          reject(new StoreUnavailable(`keepalive: ${error.message} (${session.endpoint.url})`, { cause: error }));
        },
      });
    });
  }

  close(): void {
    this.#closed = true;
    this.#session?.end(new Error('the store is closed'));
  }
}

/** One stream; when anything goes wrong with it, everything that waits on it is rejected and the next keepalive opens another. */
class Session {
  /** etcd answers in order, so the answers of one lease belong to its keepalives first come, first served. */
  readonly #pending = new Map<string, Pending[]>();
  #unsent: string[] = [];
  #stream: KeepAliveStream | undefined;
  #over = false;

  constructor(
    readonly endpoint: Endpoint,
    private readonly ended: (session: Session) => void,
  ) {
    endpoint.openKeepAlive().then(
      (stream) => {
        stream.on('error', (error) => this.end(error));
        stream.on('end', () => this.end(new Error('etcd ended the stream')));
        if (this.#over) {
          stream.cancel();
          return;
        }
        this.#stream = stream;
        stream.on('data', ({ ID, TTL }) => {
          const waiting = this.#pending.get(ID);
          waiting?.shift()?.resolve(Number(TTL) * 1000);
          if (waiting?.length === 0) this.#pending.delete(ID);
        });
        for (const id of this.#unsent.splice(0)) stream.write({ ID: id });
      },
      (error: Error) => this.end(error),
    );
  }

  send(id: string, pending: Pending): void {
    const waiting = this.#pending.get(id);
    if (waiting) waiting.push(pending);
    else this.#pending.set(id, [pending]);
    if (this.#stream) this.#stream.write({ ID: id });
    else this.#unsent.push(id);
  }

  end(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.ended(this);
    this.#stream?.cancel();
    for (const waiting of this.#pending.values()) for (const pending of waiting) pending.reject(error);
    this.#pending.clear();
  }
}

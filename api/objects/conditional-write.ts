/**
 * Decide on what the cache holds, write on condition that it still is so, decide anew when it was not. An answer that writes nothing
 * ("unchanged", a conflict, "not found") is only given once it was decided on a cache that is known to be fresh, since it may be behind
 * another server's writes: a server that lags is slow, never wrong.
 */
import { type Logger, silentLogger } from '../../runtime/log.js';
import { type Entry, type Fence, OutcomeUnknown, type Store, StoreUnavailable, type Write } from '../../runtime/store/store.js';
import { StatusError } from '../resources/errors.js';
import type { Keys } from '../resources/keys.js';
import type { Kind } from '../resources/kinds.js';
import { type Live, liveOf } from './admission.js';
import { Freshness } from './freshness.js';
import { KeyedMutex } from './keyed-mutex.js';
import type { BrokenRow, ClusterCache } from './ports.js';
import { conflict, invalid } from './status-errors.js';
import { Texts } from './texts.js';

/** What one look at the cache led to: nothing to write, or a write that holds as long as its compares do. */
export type Decision<T> =
  | { readonly done: T }
  | {
      readonly write: Write;
      /** Runs once the cache has the write; makes the answer. */
      readonly committed: (revision: number) => T;
      /** The text that the write begins to name. `puts`: with the text itself; else it relies on a witness. */
      readonly names?: { readonly hash: string; readonly puts: boolean } | undefined;
      /** Whether the entry under the object's key is this very write's doing, where that can be told. */
      readonly wrote?: ((entry: Entry) => boolean) | undefined;
    };

export interface ConditionalWritesOptions {
  readonly cache: ClusterCache;
  readonly store: Pick<Store, 'get' | 'commit' | 'revision'>;
  readonly keys: Keys;
  readonly log?: Logger;
}

/** Races that one write may lose against other servers before it gives up. */
export const maxAttempts = 30;
export const maxNameLength = 256;

export class ConditionalWrites {
  readonly texts: Texts;
  private readonly freshness: Freshness;
  private readonly mutex = new KeyedMutex();
  private readonly log: Logger;

  constructor(private readonly options: ConditionalWritesOptions) {
    this.texts = new Texts(options.cache);
    this.freshness = new Freshness(options.store, options.cache);
    this.log = options.log ?? silentLogger;
  }

  /** @throws StatusError, and Fenced as it is: losing the leadership is its holder's own matter */
  run<T>(kind: Kind, name: string, fence: Fence | undefined, decide: (live: Live | undefined) => Decision<T>): Promise<T> {
    return this.exclusively(kind, name, async (key) => {
      let fresh = false;
      for (let attempt = 1; attempt <= maxAttempts; ) {
        const decision = this.decided(kind, name, decide, fresh);
        if (decision === undefined) {
          await this.freshness.confirm();
          fresh = true;
          continue;
        }
        if ('done' in decision) return decision.done;
        const { names } = decision;
        const introduction = names?.puts ? this.texts.beingIntroduced(names.hash) : undefined;
        if (introduction) {
          await introduction;
          continue;
        }
        const answer = names?.puts
          ? await this.texts.introduce(names.hash, () => this.attempt(decision, key, name, fence))
          : await this.attempt(decision, key, name, fence);
        if (answer) return answer.value;
        // The cache has caught up with whoever was faster, and so with everything before.
        fresh = true;
        this.log.debug('lost a race', { kind: kind.kind, name, attempt });
        attempt++;
      }
      throw conflict(kind, name, `other writers were faster ${maxAttempts} times; please try again`);
    });
  }

  /** One at a time per object in this process, and what the store says in a client's terms. */
  exclusively<T>(kind: Kind, name: string, task: (key: string) => Promise<T>): Promise<T> {
    const key = this.options.keys.object(kind.plural, name);
    return isPathSegment(name)
      ? this.mutex.run(key, () => asStatus(kind, name, () => task(key)))
      : Promise.reject(
          invalid(kind, name.slice(0, maxNameLength), [
            { field: 'metadata.name', message: `Invalid value: at most ${maxNameLength} characters, no "/", and neither "." nor ".."` },
          ]),
        );
  }

  brokenRow(kind: Kind, name: string): BrokenRow | undefined {
    return this.options.cache.broken.get(this.options.keys.object(kind.plural, name));
  }

  /** The write has happened: a cache that lags is no reason to tell the client otherwise. */
  async caughtUp(revision: number): Promise<void> {
    const { cache } = this.options;
    try {
      await cache.untilRevision(revision);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      this.log.warn('the cache is behind a write of this server', { revision, known: cache.revision });
    }
  }

  /** undefined when the decision was to write nothing, and the cache it was made on may be behind. */
  private decided<T>(kind: Kind, name: string, decide: (live: Live | undefined) => Decision<T>, fresh: boolean): Decision<T> | undefined {
    try {
      const decision = decide(this.live(kind, name));
      return fresh || !('done' in decision) ? decision : undefined;
    } catch (error) {
      if (fresh) throw error;
      return undefined;
    }
  }

  /** undefined when a compare failed; then the cache has caught up with whatever made it fail. */
  private async attempt<T>(
    { write, committed, names, wrote }: Extract<Decision<T>, { write: Write }>,
    key: string,
    name: string,
    fence: Fence | undefined,
  ): Promise<{ value: T } | undefined> {
    const outcome = await this.commit(write, key, wrote, fence);
    if (outcome.ok) {
      await this.caughtUp(outcome.revision);
      if (names) this.texts.named(names.hash, name);
      return { value: committed(outcome.revision) };
    }
    if (names) this.texts.forget(names.hash);
    await this.options.cache.untilRevision(outcome.revision);
    return undefined;
  }

  private async commit(write: Write, key: string, wrote: ((entry: Entry) => boolean) | undefined, fence: Fence | undefined) {
    const { store } = this.options;
    try {
      return await store.commit(write, fence ? { fence } : {});
    } catch (error) {
      if (!(error instanceof OutcomeUnknown) || !wrote) throw error;
      const { entry } = await store.get(key);
      if (entry === undefined || !wrote(entry)) throw error;
      return { ok: true, revision: entry.modRevision } as const;
    }
  }

  private live(kind: Kind, name: string): Live | undefined {
    const broken = this.brokenRow(kind, name);
    if (!broken) return liveOf(this.options.cache, kind, name);
    throw new StatusError('InternalError', `what is stored of ${kind.kind} ${JSON.stringify(name)} cannot be read: ${broken.message}`);
  }
}

/** A name is a step of URLs and of keys in the store, whatever else its kind asks of it. */
const isPathSegment = (name: string): boolean => name.length <= maxNameLength && !name.includes('/') && name !== '.' && name !== '..';

async function asStatus<T>(kind: Kind, name: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    const what = `${kind.kind} ${JSON.stringify(name)}`;
    if (error instanceof StoreUnavailable) {
      throw new StatusError('ServiceUnavailable', `${what} was not written: ${error.message}`, { retryAfterSeconds: 1 });
    }
    if (error instanceof OutcomeUnknown) {
      const details = { retryAfterSeconds: 1 };
      throw new StatusError(
        'Timeout',
        `${what} may or may not have been written: ${error.message}; it is safe to repeat the request`,
        details,
      );
    }
    throw error;
  }
}

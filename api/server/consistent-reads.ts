/**
 * Reads that see everything that was written before they came, through whichever server: etcd is asked for its revision, once for all who
 * ask at the same time, and the cache waited for. When etcd does not answer, people still want to see what runs: then a read gets what the
 * cache holds, and a warning that says so. A program that acts on it does no harm: every write is compared with what is stored.
 */
import type { Clock } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import type { Metrics } from '../../runtime/metrics.js';
import { type Store, StoreUnavailable } from '../../runtime/store/store.js';
import { Freshness } from '../objects/freshness.js';
import type { ClusterCache } from '../objects/ports.js';
import { listVersion } from '../objects/resource-version.js';
import type { ServerLimits } from './limits.js';

export interface ConsistentReadsOptions {
  readonly store: Pick<Store, 'revision'>;
  readonly cache: Pick<ClusterCache, 'untilRevision' | 'revision'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly limits: Pick<ServerLimits, 'consistentReadMs' | 'consistentReadAwayMs'>;
}

export class ConsistentReads {
  readonly #freshness: Freshness;
  readonly #countStale: () => void;
  /** The last question had no answer in time: the next ones are not waited for that long. */
  #isAway = false;

  constructor(private readonly options: ConsistentReadsOptions) {
    this.#freshness = new Freshness(options.store, options.cache);
    const stale = options.metrics.counter(
      'flotilla_api_stale_reads_total',
      'Reads answered with what the cache held, since etcd did not say.',
      [],
    );
    stale.inc({}, 0);
    this.#countStale = () => stale.inc({});
  }

  /** Resolves once the cache is as new as the store, or with the warning to send when that could not be found out in time. */
  async settle(): Promise<string | undefined> {
    const { clock, limits, cache } = this.options;
    const isFresh = await new Promise<boolean>((resolve) => {
      const cancel = clock.after(this.#isAway ? limits.consistentReadAwayMs : limits.consistentReadMs, () => resolve(false));
      void this.#confirmed().then((confirmed) => {
        cancel();
        resolve(confirmed);
      });
    });
    this.#isAway = !isFresh;
    if (isFresh) return undefined;
    this.#countStale();
    return `etcd does not answer: this is what the server knew at resourceVersion ${listVersion(cache.revision)}, and may be out of date`;
  }

  async #confirmed(): Promise<boolean> {
    try {
      await this.#freshness.confirm();
      return true;
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) this.options.log.error('etcd could not be asked for its revision', { error });
      return false;
    }
  }
}

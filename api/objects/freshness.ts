/** How a server makes sure that its cache is not behind: one linearizable read of the store's revision for all who ask at the same time. */
import type { Store } from '../../runtime/store/store.js';
import type { ClusterCache } from './ports.js';

export class Freshness {
  private reading: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  constructor(
    private readonly store: Pick<Store, 'revision'>,
    private readonly cache: Pick<ClusterCache, 'untilRevision'>,
  ) {}

  /** Resolves once the cache holds everything that was written before this call, by whichever server. */
  confirm(): Promise<void> {
    // A read that is under way may have been answered before this call: only the next one will do.
    this.next ??= this.after(this.reading);
    return this.next;
  }

  private async after(previous: Promise<void> | undefined): Promise<void> {
    // Whoever asked for that read was told of its failure; here it only has to be over.
    await previous?.catch(() => {});
    this.reading = this.next;
    this.next = undefined;
    await this.cache.untilRevision(await this.store.revision());
  }
}

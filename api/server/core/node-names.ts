/**
 * What machines are called as nodes: by their hostname where no other machine has told the same one, else by their id. Two machines that
 * share a hostname are both called by id, so that no machine can take another's name by calling itself like it.
 */
import type { CacheBatch, ClusterCache, Joined } from '../../objects/ports.js';
import type { MachineStatus } from '../../resources/machine.js';
import type { Renames } from './projection.js';

const hostnameForm = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/;
const idForm = /^[0-9a-f]{32}$/;

/** As Kubernetes has node names: lower case, and nothing that a URL would have to escape. Undefined when it cannot be one. */
function usableHostname(status: MachineStatus | undefined): string | undefined {
  const hostname = status?.info?.hostname.toLowerCase();
  return hostname !== undefined && hostnameForm.test(hostname) && !idForm.test(hostname) ? hostname : undefined;
}

export class NodeNames implements Renames {
  lastRevision = 0;
  /** Hostname of each machine that is a node, by id; '' when it has none that can be used. */
  readonly #called = new Map<string, string>();
  /** Ids of the machines that have told this hostname. */
  readonly #byHostname = new Map<string, Set<string>>();
  readonly #listeners = new Set<() => void>();
  #isRenamed = false;

  constructor(private readonly cache: Pick<ClusterCache, 'fragment' | 'objects' | 'object' | 'revision' | 'subscribe'>) {
    this.#readAll();
    this.#isRenamed = false;
    cache.subscribe((batch) => this.#follow(batch));
  }

  /** The name of a machine as it is in this object. */
  nameOf(machine: Joined): string {
    const id = machine.metadata.name;
    this.#read(id);
    const hostname = usableHostname(machine.status as MachineStatus | undefined);
    return hostname !== undefined && this.#isOnly(id, hostname) ? hostname : id;
  }

  /** The id that a node name means; a machine's id is understood too. */
  idOf(name: string): string | undefined {
    if (this.cache.object('machines', name)) return name;
    const ids = this.#byHostname.get(name.toLowerCase());
    return ids?.size === 1 ? [...ids][0] : undefined;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #isOnly(id: string, hostname: string): boolean {
    const ids = this.#byHostname.get(hostname);
    return ids === undefined || ids.size === 0 || (ids.size === 1 && ids.has(id));
  }

  /** Brings what is known of this machine in step with the cache, which may be ahead of what we were told. */
  #read(id: string): void {
    const status = this.cache.fragment('machines', id)?.value as MachineStatus | undefined;
    const isNode = status?.info !== undefined && this.cache.object('machines', id) !== undefined;
    const before = this.#called.get(id);
    const now = isNode ? (usableHostname(status) ?? '') : undefined;
    if (before === now) return;
    if (before !== undefined && now !== undefined) this.#isRenamed = true;
    if (before) {
      const sharing = this.#byHostname.get(before);
      sharing?.delete(id);
      if (sharing?.size === 0) this.#byHostname.delete(before);
      // The one that is left has the hostname to itself now.
      if (sharing?.size === 1) this.#isRenamed = true;
    }
    if (now === undefined) this.#called.delete(id);
    else this.#called.set(id, now);
    if (!now) return;
    const sharing = this.#byHostname.get(now) ?? new Set<string>();
    if (sharing.size === 1) this.#isRenamed = true;
    sharing.add(id);
    this.#byHostname.set(now, sharing);
  }

  #readAll(): void {
    for (const id of new Set([...this.#called.keys(), ...this.cache.objects('machines').keys()])) this.#read(id);
  }

  #follow({ changes, relisted, revision }: CacheBatch): void {
    if (relisted) this.#readAll();
    for (const change of changes) {
      if ((change.table === 'object' || change.table === 'condition') && change.plural === 'machines') this.#read(change.name);
    }
    if (!this.#isRenamed) return;
    this.#isRenamed = false;
    this.lastRevision = revision;
    for (const listener of [...this.#listeners]) listener();
  }
}

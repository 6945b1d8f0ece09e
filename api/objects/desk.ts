/** What all writes of one kind have in common: the kind's rules, the compares under which a write holds, and what is answered after it. */
import type { Clock } from '../../runtime/clock.js';
import type { Compare } from '../../runtime/store/store.js';
import { StatusError } from '../resources/errors.js';
import type { Keys } from '../resources/keys.js';
import type { Kind } from '../resources/kinds.js';
import { Admission, type Live } from './admission.js';
import type { ClusterCache, Joined, WriteContext } from './ports.js';
import { objectVersion } from './resource-version.js';
import { SchemaCheck } from './schema-check.js';
import type { WholeObject } from './storage.js';

export interface DeskPorts {
  readonly cache: ClusterCache;
  readonly keys: Keys;
  readonly clock: Clock;
  readonly uuid: () => string;
}

export class Desk {
  readonly schema: SchemaCheck;
  readonly admission: Admission;

  constructor(
    readonly kind: Kind,
    private readonly ports: DeskPorts,
  ) {
    const { cache, clock, uuid } = ports;
    this.schema = new SchemaCheck(kind);
    this.admission = new Admission({ kind, schema: this.schema, cache, clock, uuid });
  }

  unchanged(live: Live | undefined, name = live?.object.metadata.name ?? ''): Compare {
    return { key: this.ports.keys.object(this.kind.plural, name), modRevision: live?.row.modRevision ?? 0 };
  }

  /** What was decided about another object holds only while that one is as it was. */
  guards({ onlyWhile }: WriteContext): Compare[] {
    if (onlyWhile === undefined) return [];
    const { cache, keys } = this.ports;
    const { plural, name, modRevision } = onlyWhile;
    if (cache.object(plural, name)?.modRevision === modRevision) return [{ key: keys.object(plural, name), modRevision }];
    throw new StatusError('Conflict', `${plural} ${JSON.stringify(name)} has changed meanwhile`, { kind: plural, name });
  }

  /** What was written, with the status that the cache has for it by now. */
  seen(object: WholeObject, live: Live | undefined, revision: number): Joined {
    const { cache } = this.ports;
    const { plural } = this.kind;
    const { name, uid } = object.metadata;
    const joined = cache.joined(plural, name);
    if (joined !== undefined && cache.object(plural, name)?.modRevision === revision) return joined;
    // Somebody wrote it again already, or it is gone: the answer is still about this write.
    return joinedAs(object, joined?.metadata.uid === uid ? joined : live?.joined, objectVersion(revision));
  }
}

export function joinedAs(object: WholeObject, from: Joined | undefined, resourceVersion: string | undefined): Joined {
  const metadata = { ...object.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
  // A dry run that would create has no version to show: clients tell by that (kubernetes-wire 9).
  return { ...object, metadata, ...(from?.status === undefined ? {} : { status: from.status }) } as Joined;
}

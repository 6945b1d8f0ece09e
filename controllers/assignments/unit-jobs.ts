/** From the verdict on a unit that is not global to the one write that carries it out. */
import type { ClusterCache } from '../../api/objects/ports.js';
import { untoldDependents } from '../../api/objects/references.js';
import type { UnitFragment } from '../../api/objects/unit-fragment.js';
import type { Clock } from '../../runtime/clock.js';
import type { Verdict } from '../scheduler/types.js';
import type { Job } from './committer.js';
import type { Marks } from './dirty.js';
import type { Pace } from './pace.js';
import { type Changes, planUnit } from './plan.js';
import type { FactsReader } from './read.js';
import type { UnitSources } from './source.js';
import { unitWrite } from './write.js';

/** What it takes to turn a verdict on any unit into writes. */
export interface VerdictPorts {
  readonly cache: ClusterCache;
  readonly clock: Clock;
  readonly sources: UnitSources;
  readonly reader: FactsReader;
  readonly pace: Pace;
  readonly marks: Pick<Marks, 'setUnitDue'>;
}

export interface UnitJobsOptions extends VerdictPorts {
  readonly limits: { readonly messagesEveryMs: number };
}

export class UnitJobs {
  readonly #options: UnitJobsOptions;

  constructor(options: UnitJobsOptions) {
    this.#options = options;
  }

  /** Undefined when there is nothing to write, or nothing that cannot wait. */
  job(name: string, verdict: Verdict | undefined, nowMs: number): Job | undefined {
    const { cache, clock, sources, reader, pace } = this.#options;
    const source = sources.read(name);
    const copies = reader.copies(name);
    const fragment = cache.fragment('units', name)?.value as UnitFragment | undefined;
    const changes = planUnit({
      name,
      source,
      verdict,
      copies,
      fragment,
      now: clock.now().toISOString(),
      isHeld:
        (source?.planned.template === true && !isEmpty(sources.followersOf(name))) ||
        (source?.planned.deleting === true && untoldDependents(cache, source.uid).length > 0),
    });
    if (!changes || this.#isTooSoon(name, verdict, changes, fragment, nowMs)) return undefined;
    pace.wrote('units', name, nowMs);
    const write = unitWrite(cache.keys, name, reader.rows(name, copies), changes);
    return { write, events: changes.events, placements: verdict?.go === 'place' ? 1 : 0, unit: name };
  }

  /** A sum of reasons changes with every machine that comes or goes: for thousands of waiting units that need not be told at once. */
  #isTooSoon(name: string, verdict: Verdict | undefined, changes: Changes, before: UnitFragment | undefined, nowMs: number): boolean {
    if (verdict?.go !== 'unschedulable' || changes.puts.length + changes.drops.length > 0) return false;
    const was = before?.conditions?.find(({ type }) => type === 'Scheduled');
    if (was?.reason !== verdict.reason || before?.observedGeneration !== changes.fragment?.observedGeneration) return false;
    const { pace, marks, limits } = this.#options;
    const dueMs = pace.dueMs('units', name, limits.messagesEveryMs);
    if (nowMs >= dueMs) return false;
    marks.setUnitDue(name, dueMs);
    return true;
  }
}

function isEmpty(names: Iterable<string>): boolean {
  for (const _name of names) return false;
  return true;
}

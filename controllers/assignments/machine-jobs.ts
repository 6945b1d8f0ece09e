/** From what is known of a machine to the write of its status. */
import type { ClusterCache } from '../../api/objects/ports.js';
import type { MachineSpec } from '../../api/resources/machine.js';
import type { Clock } from '../../runtime/clock.js';
import type { MachineHealth } from '../machines/health.js';
import { differs, type MachineFragment, planMachine } from '../machines/plan.js';
import type { Job } from './committer.js';
import type { Marks } from './dirty.js';
import type { Drains } from './drains.js';
import type { Pace } from './pace.js';
import type { FactsReader } from './read.js';
import { fragmentWrite } from './write.js';

export interface MachineJobsOptions {
  readonly cache: ClusterCache;
  readonly clock: Clock;
  readonly reader: Pick<FactsReader, 'fragmentRevision'>;
  readonly health: Pick<MachineHealth, 'cautionAbout'>;
  readonly drains: Pick<Drains, 'stateOf'>;
  readonly pace: Pace;
  readonly marks: Pick<Marks, 'setMachineDue'>;
  readonly limits: { readonly countsEveryMs: number };
}

export class MachineJobs {
  readonly #options: MachineJobsOptions;

  constructor(options: MachineJobsOptions) {
    this.#options = options;
  }

  /** Undefined when there is nothing to write, or nothing that cannot wait. */
  job(id: string, nowMs: number): Job | undefined {
    const { cache, clock, reader, health, drains, pace, marks, limits } = this.#options;
    const row = cache.object('machines', id);
    if (!row) return undefined;
    const before = cache.fragment('machines', id)?.value as MachineFragment | undefined;
    const { fragment, events } = planMachine({
      id,
      uid: row.value.metadata.uid ?? '',
      generation: row.value.metadata.generation ?? 0,
      presence: cache.presence(id)?.value,
      caution: health.cautionAbout(id),
      drain: (row.value.spec as MachineSpec | undefined)?.drain ? drains.stateOf(id) : undefined,
      units: cache.assignmentsOn(id).size,
      fragment: before,
      now: clock.now().toISOString(),
    });
    const news = differs(fragment, before);
    if (news === 'no') return undefined;
    const dueMs = pace.dueMs('machines', id, limits.countsEveryMs);
    if (news === 'count' && nowMs < dueMs) {
      marks.setMachineDue(id, dueMs);
      return undefined;
    }
    pace.wrote('machines', id, nowMs);
    const write = fragmentWrite(cache.keys, 'machines', id, reader.fragmentRevision('machines', id), fragment);
    return { write, events, placements: 0, machine: id };
  }
}

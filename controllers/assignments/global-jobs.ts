import type { UnitFragment } from '../../api/objects/unit-fragment.js';
import type { ControllerEvent } from '../events.js';
import type { GlobalVerdict } from '../scheduler/types.js';
import type { Job } from './committer.js';
import { globalFragment, type PairChange, planPair, planRollout } from './global-plan.js';
import { sameFragment } from './plan.js';
import type { UnitSource } from './source.js';
import type { VerdictPorts } from './unit-jobs.js';
import { fragmentWrite, pairWrite, type Rows, unitWrite } from './write.js';

export interface GlobalJobsOptions extends VerdictPorts {
  readonly limits: { readonly countsEveryMs: number };
}

export class GlobalJobs {
  readonly #options: GlobalJobsOptions;

  constructor(options: GlobalJobsOptions) {
    this.#options = options;
  }

  /** For all its machines, with its counts and its rollout. */
  *everywhere(name: string, verdict: GlobalVerdict, nowMs: number): Generator<Job> {
    const { cache, clock, sources, reader } = this.#options;
    const source = sources.read(name);
    if (!source) return;
    const now = clock.now().toISOString();
    const copies = reader.copies(name);
    const rows = reader.rows(name, copies);
    yield* this.#pairs(source, verdict, rows, now);
    if (source.planned.deleting && copies.length === 0 && source.finalizers.length === 0) {
      yield this.#removal(source, rows);
      return;
    }
    const rollout = planRollout(source, copies);
    if (rollout.next) yield this.#pair(name, rollout.next.machine, rows, { put: rollout.next });
    const before = cache.fragment('units', name)?.value as UnitFragment | undefined;
    const fragment = globalFragment({ source, verdict, copies, rollout, fragment: before, now });
    if (sameFragment(fragment, before)) return;
    const isNews = before?.observedGeneration !== source.generation;
    if (isNews || this.#mayCount(name, nowMs)) yield this.#status(name, rows, fragment, nowMs);
  }

  /** For the machines that were touched; counts and rollout come when the unit itself is due. */
  *on(machines: ReadonlySet<string>, name: string, verdict: GlobalVerdict): Generator<Job> {
    const { clock, sources, reader } = this.#options;
    const source = sources.read(name);
    if (!source) return;
    const copies = [...machines].flatMap((machine) => reader.copy(name, machine) ?? []);
    yield* this.#pairs(source, verdict, reader.rows(name, copies), clock.now().toISOString());
  }

  *#pairs(source: UnitSource, verdict: GlobalVerdict, rows: Rows, now: string): Generator<Job> {
    const placed = new Set(verdict.place);
    const byMachine = new Map(rows.copies.map((copy) => [copy.machine, copy]));
    for (const machine of new Set([...byMachine.keys(), ...placed])) {
      const pair = { place: placed.has(machine), leave: verdict.leave.get(machine) };
      const change = planPair(source, byMachine.get(machine), pair, machine, now);
      if (change) yield this.#pair(source.name, machine, rows, change, byMachine.has(machine) ? 0 : 1);
    }
  }

  #pair(name: string, machine: string, rows: Rows, change: PairChange, placements = 0): Job {
    return { write: pairWrite(this.#options.cache.keys, name, machine, rows, change), events: [], placements, unit: name, machine };
  }

  #removal({ name, uid }: UnitSource, rows: Rows): Job {
    const about = { kind: 'Unit', name, uid };
    const events: ControllerEvent[] = [{ about, type: 'Normal', reason: 'Removed', message: `Removed ${name}.` }];
    const changes = { puts: [], drops: [], deleteUnit: true, events };
    return { write: unitWrite(this.#options.cache.keys, name, rows, changes), events, placements: 0, unit: name };
  }

  /** Counts that were written only just now are looked at again a little later. */
  #mayCount(name: string, nowMs: number): boolean {
    const { pace, marks, limits } = this.#options;
    const dueMs = pace.dueMs('units', name, limits.countsEveryMs);
    if (nowMs >= dueMs) return true;
    marks.setUnitDue(name, dueMs);
    return false;
  }

  #status(name: string, rows: Rows, fragment: UnitFragment, nowMs: number): Job {
    const { cache, pace } = this.#options;
    pace.wrote('units', name, nowMs);
    return { write: fragmentWrite(cache.keys, 'units', name, rows.fragmentRevision, fragment), events: [], placements: 0, unit: name };
  }
}

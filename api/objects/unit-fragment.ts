import type { Condition } from '../resources/meta.js';

/** What the leader stores under `/conditions/units/<name>`. Everything else in a Unit's status is derived from what was seen. */
export interface UnitFragment {
  /** Generation of the Unit that the leader has decided about. */
  readonly observedGeneration?: number;
  /** Scheduled, and what else only the leader can know; for a global unit also Ready and UpToDate. */
  readonly conditions?: readonly Condition[];
  /** Where it is assigned, full id; absent for a global unit and for one that runs nowhere. */
  readonly machine?: string;
  /** For an instance that follows its template: what its assignment names (SEMANTICS 9). */
  readonly textHash?: string;
  readonly template?: { readonly uid: string; readonly generation: number };
  /** A sentence, while the machine is not heard of: what was seen there last may no longer be so. */
  readonly machineLost?: string;
  /** Global units only. */
  readonly desiredMachines?: number;
  readonly currentMachines?: number;
  readonly readyMachines?: number;
}

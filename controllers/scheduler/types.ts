/**
 * What the planner knows of the world: plain values, no store, no clock. `reconcile` fills them from the cluster's cache.
 */
import type { Eviction } from '../../api/resources/eviction.js';
import type { Taint } from '../../api/resources/machine.js';
import type { FailoverPolicy } from '../../api/resources/placement.js';
import type { Toleration } from '../../api/resources/taints.js';
import type { LabelSelector } from '../../api/resources/unit.js';

/** Where a unit may run: `spec.placement` and [X-Fleet] merged, specifiers expanded, defaults filled in. */
export interface Constraints {
  /** Full machine id, or exactly its first 8 characters. */
  readonly machineID?: string | undefined;
  readonly machineOf: readonly string[];
  /** All keys must match, each with any of its values. */
  readonly metadata: ReadonlyMap<string, readonly string[]>;
  readonly selector?: LabelSelector | undefined;
  readonly conflicts: readonly string[];
  readonly replaces: readonly string[];
  readonly global: boolean;
  readonly tolerations: readonly Toleration[];
  /** 0 = asks for nothing. */
  readonly requests: { readonly cpuMillis: number; readonly memoryBytes: number };
  readonly policy: FailoverPolicy;
  /** Units with the same word keep apart as far as they can: uid of the UnitSet that they belong to. */
  readonly spread?: string | undefined;
}

export const unconstrained: Constraints = {
  machineOf: [],
  metadata: new Map(),
  conflicts: [],
  replaces: [],
  global: false,
  tolerations: [],
  requests: { cpuMillis: 0, memoryBytes: 0 },
  policy: 'atLeastOnce',
};

export interface PlannedUnit {
  readonly name: string;
  readonly generation: number;
  readonly wanted: 'inactive' | 'loaded' | 'launched';
  /** A template is never placed: its instances are. */
  readonly template: boolean;
  readonly deleting: boolean;
  /** Why its text or placement cannot be told now. What runs goes on; nothing new is placed. */
  readonly broken?: string | undefined;
  /** Its last copy was stopped because it moves: whoever follows it starts after it (SEMANTICS 21). */
  readonly moving: boolean;
  /** Somebody wants this copy of it, or one that was there before, to leave its machine. */
  readonly eviction?: Eviction | undefined;
  readonly constraints: Constraints;
}

/**
 * present: heartbeats arrive. held: they do not, and caution forbids to act on it (SEMANTICS 22). lost: they do not, and units that may
 * fail over do.
 */
export type Health = 'present' | 'held' | 'lost';

export interface PlannedMachine {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Its object cannot be read: what is known of labels and taints may be old, or nothing. */
  readonly isUnreadable?: boolean | undefined;
  readonly health: Health;
  /** Why it is held, as the end of a sentence about the machine. */
  readonly heldWhy?: string | undefined;
  readonly cordoned: boolean;
  /** Grows when its spec changes; undefined while that cannot be read. */
  readonly generation?: number | undefined;
  readonly draining: boolean;
  /** Drain moves one unit (or group) at a time: the one that is on its way now, if any. */
  readonly drainBusy?: string | undefined;
  readonly taints: readonly Taint[];
  readonly capacity?: { readonly cpuMillis: number; readonly memoryBytes: number } | undefined;
}

/** One Assignment: a unit's copy on a machine. */
export interface Copy {
  /** Marked for removal: it stops there, and still takes its place until it is gone. */
  readonly leaving: boolean;
  /** Why it is on its way out. */
  readonly why?: string | undefined;
  /** Generation of the unit that it was last brought in step with. */
  readonly generation: number;
  /** Which life of the assignment it is; undefined while it is not stored. */
  readonly assignedAt?: string | undefined;
  readonly wanted: 'loaded' | 'launched';
  /** Its machine has reported on it, and it is not in the middle of starting or stopping. */
  readonly settled: boolean;
}

/** What happens to a unit now. `reason` and `message` become its Scheduled condition. */
export type Verdict = { readonly reason: string; readonly message: string } & (
  | { readonly go: 'nowhere' }
  /** `start: false` while something else has to happen on that machine before it. */
  | { readonly go: 'stay'; readonly machine: string; readonly start: boolean }
  /** `lost`: the machine that it is given up on (failover); its copy there is marked for removal in the same write. */
  | { readonly go: 'place'; readonly machine: string; readonly start: boolean; readonly lost?: string | undefined }
  /** Stop there first; it is placed anew once it is gone. */
  | { readonly go: 'leave'; readonly machine: string; readonly why: string }
  | { readonly go: 'wait' }
  | { readonly go: 'unschedulable' }
);

/** A global unit: one verdict per machine that was asked about. */
export interface GlobalVerdict {
  readonly place: readonly string[];
  readonly leave: ReadonlyMap<string, string>;
  /** Machines that it does not run on, and why. */
  readonly skip: ReadonlyMap<string, string>;
}

/** What a pass has decided. */
export interface Plan {
  readonly verdicts: ReadonlyMap<string, Verdict>;
  readonly globals: ReadonlyMap<string, GlobalVerdict>;
  /** Units that these decisions ask to look at again, once they are stored. */
  readonly again: ReadonlySet<string>;
  /** Faults of ours: one unit that cannot be decided must not keep the others waiting (invariant 7). */
  readonly failed: ReadonlyMap<string, unknown>;
}

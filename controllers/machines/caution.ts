/**
 * Caution with absence (SEMANTICS 22): when too many machines vanish together, or the leader is new, nothing is moved and nothing pruned.
 * Pure: what is known of the missing machines in, who is held and why out.
 */
import { presenceTtlMs } from '../../api/resources/protocol.js';

export const cautionLimits = {
  /** A loss counts as one of those "together" for this long. */
  lossCountsMs: 60_000,
  /** A leader moves nothing in its first two lease times: it has not seen yet who is there. */
  newLeaderMs: 2 * presenceTtlMs,
  /** While leases that run low keep caution on, they are read again this often. */
  leasesAgainMs: 2_000,
  /** Machines that vanished together come back one by one: once enough are, the last ones are given this long. */
  returnMs: presenceTtlMs,
};

export interface Missing {
  readonly machine: string;
  /** When presence ended, on the leader's monotonic clock; undefined for a loss that an earlier leader has dealt with. */
  readonly endedAtMs?: number | undefined;
  /** Caution held it until now: it counts until it is back or confirmed, however long that takes. */
  readonly latched: boolean;
  /** A human said that it is really gone. */
  readonly confirmed: boolean;
  /** The other machines' leases were read since it was lost. */
  readonly checked: boolean;
}

export interface CautionFacts {
  readonly nowMs: number;
  readonly electedAtMs: number;
  /** Machines with presence. */
  readonly present: number;
  /** Those of them whose lease has less than half of its time left. */
  readonly atRisk: number;
  readonly missing: readonly Missing[];
  /** When too many were last missing together, as far as this leader knows. */
  readonly tooManyAtMs?: number | undefined;
}

export interface Caution {
  /** In force, and why, as a clause. */
  readonly active?: { readonly reason: 'NewLeader' | 'TooManyLost' | 'Returning'; readonly why: string };
  /** Machines that nothing may be moved off. */
  readonly held: ReadonlySet<string>;
  /** Those of them that go on counting as lost together. */
  readonly latched: ReadonlySet<string>;
  /** When to judge again without any news. */
  readonly againInMs?: number;
}

export function judge({ nowMs, electedAtMs, present, atRisk, missing, tooManyAtMs }: CautionFacts, limits = cautionLimits): Caution {
  const unconfirmed = missing.filter(({ confirmed }) => !confirmed);
  const ageMs = ({ endedAtMs }: Missing) => (endedAtMs === undefined ? Number.POSITIVE_INFINITY : nowMs - endedAtMs);
  const counted = unconfirmed.filter((machine) => machine.latched || ageMs(machine) < limits.lossCountsMs);
  const gone = counted.length + atRisk;
  const all = present + counted.length;
  const areTooMany = gone > Math.max(1, all / 3);
  const newLeaderLeftMs = electedAtMs + limits.newLeaderMs - nowMs;
  const areLatched = unconfirmed.some(({ latched }) => latched);
  const returnLeftMs = areLatched ? (tooManyAtMs ?? electedAtMs) + limits.returnMs - nowMs : 0;

  const waits: number[] = [];
  for (const leftMs of [newLeaderLeftMs, returnLeftMs]) if (leftMs > 0) waits.push(leftMs);
  if (areTooMany && atRisk > 0) waits.push(limits.leasesAgainMs);
  for (const machine of counted) if (!machine.latched) waits.push(limits.lossCountsMs - ageMs(machine));
  const again = waits.length === 0 ? {} : { againInMs: Math.max(1, Math.min(...waits)) };

  const names = (machines: readonly Missing[]) => new Set(machines.map(({ machine }) => machine));
  if (areTooMany) {
    const unsure = atRisk > 0 ? `, ${atRisk} of them about to` : '';
    const why = `${gone} of ${all} machines vanished together${unsure}; nothing is moved until enough are back, or "flotilla failover --confirm MACHINE" says that they are gone`;
    return { active: { reason: 'TooManyLost', why }, held: names(unconfirmed), latched: names(counted), ...again };
  }
  if ((newLeaderLeftMs > 0 || returnLeftMs > 0) && unconfirmed.length > 0) {
    const why =
      returnLeftMs > newLeaderLeftMs
        ? `enough machines are back; nothing is moved for ${seconds(limits.returnMs)}, so that the last ones can come back too`
        : `the leader is new and moves nothing for ${seconds(limits.newLeaderMs)}, to see who is there`;
    // Latched stays latched: it is not known yet whether enough are back to stay.
    const latched = names(unconfirmed.filter((machine) => machine.latched));
    return {
      active: { reason: returnLeftMs > newLeaderLeftMs ? 'Returning' : 'NewLeader', why },
      held: names(unconfirmed),
      latched,
      ...again,
    };
  }
  return { held: names(unconfirmed.filter(({ checked }) => !checked)), latched: new Set(), ...again };
}

const seconds = (ms: number): string => `${Math.round(ms / 1_000)} s`;

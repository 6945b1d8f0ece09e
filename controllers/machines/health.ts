/**
 * Which machines answer, which are lost, and which are held by caution. Follows presence in the cache; on a loss it also reads how much
 * time the other machines' leases have left, because those that vanish together expire one after another.
 */
import type { ClusterCache } from '../../api/objects/ports.js';
import { failoverConfirmedAnnotation } from '../../api/resources/annotations.js';
import { presenceTtlMs } from '../../api/resources/protocol.js';
import type { Clock } from '../../runtime/clock.js';
import type { Logger } from '../../runtime/log.js';
import type { Store } from '../../runtime/store/store.js';
import type { Health } from '../scheduler/types.js';
import { type Caution, cautionLimits, judge, type Missing } from './caution.js';
import type { MachineFragment } from './plan.js';

/** Leases that are read at a time. */
const readsAtOnce = 32;

interface Absence {
  readonly endedAtMs: number | undefined;
  /**
   * What tells a confirmation of this absence from one of an earlier absence. This leader saw the loss: any other value than stood there
   * then (undefined: none), whatever clock it was written by. A former leader saw it: a time after the one that it noted.
   */
  readonly confirmedBy: { readonly otherThan: string | undefined } | { readonly after: string };
  latched: boolean;
  checked: boolean;
}

export interface HealthOptions {
  readonly cache: ClusterCache;
  readonly store: Pick<Store, 'leaseTtlMs'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly electedAtMs: number;
  /** The leases were read: judge again. */
  readonly onChecked: () => void;
  readonly limits?: typeof cautionLimits;
}

export class MachineHealth {
  readonly #options: HealthOptions;
  readonly #limits: typeof cautionLimits;
  readonly #absent = new Map<string, Absence>();
  /** Machines whose leases ran low when they were last read. */
  #atRisk: ReadonlySet<string> = new Set();
  #tooManyAtMs: number | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #isReading = false;
  caution: Caution = { held: new Set(), latched: new Set() };

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#limits = options.limits ?? cautionLimits;
  }

  of(machine: string): Health {
    if (!this.#absent.has(machine)) return 'present';
    return this.caution.held.has(machine) ? 'held' : 'lost';
  }

  /** Why it is held, as a clause; none while the other machines' leases are only being looked at. */
  heldWhy(machine: string): string | undefined {
    return this.caution.held.has(machine) ? this.caution.active?.why : undefined;
  }

  /** Its Caution condition; none while the other machines' leases are only being looked at. */
  cautionAbout(machine: string): { readonly reason: string; readonly why: string } | undefined {
    const { active, held, latched } = this.caution;
    if (!active || !held.has(machine)) return undefined;
    return { reason: latched.has(machine) ? 'TooManyLost' : 'UnitsHeld', why: active.why };
  }

  /** Looks at all machines again; returns those whose health, or the reason for it, is another now. */
  update(): Set<string> {
    const { cache, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    const before = new Map([...this.#absent.keys()].map((machine) => [machine, `${this.of(machine)} ${this.heldWhy(machine)}`]));

    let present = 0;
    for (const machine of cache.objects('machines').keys()) {
      const presence = cache.presence(machine);
      // A presence that cannot be read is one: nobody is given up for it.
      if (presence ? !presence.value.duplicate : cache.broken.has(cache.keys.presence(machine))) {
        present++;
        this.#absent.delete(machine);
      } else if (!this.#absent.has(machine)) this.#absent.set(machine, this.#absence(machine, nowMs));
    }
    for (const machine of this.#absent.keys()) if (!cache.object('machines', machine)) this.#absent.delete(machine);

    const { electedAtMs } = this.#options;
    const atRisk = [...this.#atRisk].filter((machine) => cache.object('machines', machine) && !this.#absent.has(machine)).length;
    // Until this moment there were too many, whenever that was looked at last.
    if (this.caution.active?.reason === 'TooManyLost') this.#tooManyAtMs = nowMs;
    this.caution = judge({ nowMs, electedAtMs, present, atRisk, missing: this.#missing(), tooManyAtMs: this.#tooManyAtMs }, this.#limits);
    for (const [machine, absence] of this.#absent) absence.latched = this.caution.latched.has(machine);
    this.#readLeasesIfNeeded(nowMs);

    const changed = new Set<string>();
    for (const machine of new Set([...before.keys(), ...this.#absent.keys()])) {
      if (before.get(machine) !== (this.#absent.has(machine) ? `${this.of(machine)} ${this.heldWhy(machine)}` : undefined))
        changed.add(machine);
    }
    return changed;
  }

  #absence(machine: string, nowMs: number): Absence {
    const { cache, electedAtMs } = this.#options;
    const conditions = (cache.fragment('machines', machine)?.value as MachineFragment | undefined)?.conditions;
    const ready = conditions?.find(({ type }) => type === 'Ready');
    const wasKnownLost = ready?.status === 'False';
    const latched = conditions?.some(({ type, reason }) => type === 'Caution' && reason === 'TooManyLost') ?? false;
    // Never connected, or dealt with by an earlier leader: no news. What was there when this leader came is lost since then at the latest.
    const isNews = ready?.status === 'True';
    return {
      endedAtMs: isNews ? Math.max(nowMs, electedAtMs) : undefined,
      confirmedBy: wasKnownLost ? { after: ready.lastTransitionTime } : { otherThan: this.#confirmation(machine) },
      latched: wasKnownLost && latched,
      checked: !isNews,
    };
  }

  #confirmation = (machine: string): string | undefined =>
    this.#options.cache.object('machines', machine)?.value.metadata.annotations?.[failoverConfirmedAnnotation];

  #isConfirmed(machine: string, { confirmedBy }: Absence): boolean {
    const given = this.#confirmation(machine);
    if (given === undefined) return false;
    if ('otherThan' in confirmedBy) return given !== confirmedBy.otherThan;
    return Date.parse(given) > Date.parse(confirmedBy.after) - clockSkewMs;
  }

  #missing(): Missing[] {
    return [...this.#absent].map(([machine, absence]) => ({
      machine,
      endedAtMs: absence.endedAtMs,
      latched: absence.latched,
      confirmed: this.#isConfirmed(machine, absence),
      checked: absence.checked,
    }));
  }

  #readLeasesIfNeeded(nowMs: number): void {
    const unchecked = [...this.#absent.values()].some(({ checked }) => !checked);
    const isDue = this.#atRisk.size > 0 && nowMs - this.#readAtMs >= this.#limits.leasesAgainMs;
    if (!unchecked && !isDue) return;
    if (this.#isReading) return;
    this.#isReading = true;
    void this.#readLeases().finally(() => {
      this.#isReading = false;
      this.#options.onChecked();
    });
  }

  /** Counts the machines whose lease runs low; what cannot be read counts as one that does. */
  async #readLeases(): Promise<void> {
    const { cache, store, clock, log } = this.#options;
    const judged = [...this.#absent.values()];
    const present = [...cache.presences()].filter(([, { value }]) => !value.duplicate);
    const atRisk = new Set<string>();
    let failure: unknown;
    const readNext = async (): Promise<void> => {
      for (let next = present.pop(); next !== undefined; next = present.pop()) {
        const [machine, row] = next;
        try {
          const leftMs = await store.leaseTtlMs(row.lease ?? row.value.leaseId);
          if (leftMs === undefined || leftMs < presenceTtlMs / 2) atRisk.add(machine);
        } catch (error) {
          failure = error;
          atRisk.add(machine);
        }
      }
    };
    await Promise.all(Array.from({ length: readsAtOnce }, readNext));
    if (failure !== undefined)
      log.warn('leases of machines could not be read, and count as running low', { machines: atRisk.size, error: failure });
    this.#atRisk = atRisk;
    this.#readAtMs = clock.monotonicMs();
    for (const absence of judged) absence.checked = true;
  }
}

/** By how much the clock of whoever confirms may be behind the leader's. */
const clockSkewMs = 5_000;

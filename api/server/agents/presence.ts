/**
 * A machine's presence: the leased key that says which stream holds it. Taking it over is one transaction; the key's revision at that
 * moment is the token by which the stream's later writes prove that it still holds the machine (SEMANTICS 17).
 */
import type { Clock } from '../../../runtime/clock.js';
import type { Lease, Store, WriteOutcome } from '../../../runtime/store/store.js';
import type { Keys } from '../../resources/keys.js';
import { type MachineInfo, Presence } from '../../resources/machine.js';
import { presenceTtlMs } from '../../resources/protocol.js';

export interface PresencePorts {
  readonly store: Pick<Store, 'get' | 'commit' | 'lease'>;
  readonly keys: Keys;
  readonly clock: Clock;
  /** This server, as presence names it. */
  readonly serverName: string;
  readonly duplicateHoldMs: number;
}

/** Whose presence, on what condition. */
export interface Claim {
  readonly machine: string;
  readonly machineUid: string;
  /** The Machine object as the caller has seen it: no presence without it (SEMANTICS 24). */
  readonly machineCreateRevision: number;
  readonly info: MachineInfo;
  readonly session: string;
}

export type Takeover =
  | { readonly outcome: 'held'; readonly presence: HeldPresence }
  /** Another host uses the same machine id: nobody holds it now. */
  | { readonly outcome: 'duplicate'; readonly bootIDs: readonly [string, string] }
  | { readonly outcome: 'removed' }
  /** Others were faster each time. */
  | { readonly outcome: 'outrun' };

type Verdict =
  | { readonly verdict: 'take'; readonly replacedBoot?: string }
  /** `renew`: they still take turns, so the hold begins anew. */
  | { readonly verdict: 'duplicate'; readonly bootIDs: [string, string]; readonly renew: boolean };

const maxRaces = 5;

/**
 * What a stream from boot `bootID` may do, given the presence that still lives. A host never boots twice under one boot id: one that comes
 * back after another boot has taken its place is a second host with the same machine id.
 */
export function judge(previous: Presence | undefined, bootID: string, now: Date, holdMs: number): Verdict {
  if (!previous) return { verdict: 'take' };
  if (previous.duplicate) {
    const { bootIDs, lastSeen } = previous.duplicate;
    if (lastSeen !== bootID) return { verdict: 'duplicate', bootIDs: [lastSeen, bootID], renew: true };
    // The same one asks again. Once the other has kept away for half of the hold, it is taken to be gone.
    const alone = now.getTime() - Date.parse(previous.since) > holdMs / 2;
    return alone ? { verdict: 'take' } : { verdict: 'duplicate', bootIDs, renew: false };
  }
  const { replacedBoot } = previous;
  if (previous.info.bootID === bootID) return { verdict: 'take', ...(replacedBoot === undefined ? {} : { replacedBoot }) };
  if (replacedBoot === bootID) return { verdict: 'duplicate', bootIDs: [previous.info.bootID, bootID], renew: true };
  return { verdict: 'take', replacedBoot: previous.info.bootID };
}

/** Takes a machine over from whoever holds it: the newest stream wins (SEMANTICS 19). Rejects as the store does. */
export async function takeOver(ports: PresencePorts, claim: Claim): Promise<Takeover> {
  const { store, keys, clock, duplicateHoldMs } = ports;
  const key = keys.presence(claim.machine);
  for (let race = 0; race < maxRaces; race++) {
    const { entry } = await store.get(key);
    const verdict = judge(entry && readPresence(entry.value), claim.info.bootID, clock.now(), duplicateHoldMs);
    const modRevision = entry?.modRevision ?? 0;
    if (verdict.verdict === 'duplicate') {
      const { bootIDs } = verdict;
      if (!verdict.renew) return { outcome: 'duplicate', bootIDs };
      const duplicate = { bootIDs, lastSeen: claim.info.bootID };
      const written = await putPresence(ports, claim, modRevision, duplicateHoldMs, { session: '', server: '', duplicate });
      if (written.ok) return { outcome: 'duplicate', bootIDs };
      if (isRemoved(ports, claim, written)) return { outcome: 'removed' };
      continue;
    }
    const replaced = verdict.replacedBoot === undefined ? {} : { replacedBoot: verdict.replacedBoot };
    const written = await putPresence(ports, claim, modRevision, presenceTtlMs, replaced);
    if (written.ok) return { outcome: 'held', presence: new HeldPresence(ports, claim, replaced, written.lease, written.revision) };
    if (isRemoved(ports, claim, written)) return { outcome: 'removed' };
  }
  return { outcome: 'outrun' };
}

/** What a heartbeat came to. Only `alive` may be acknowledged. */
export type Beat = 'alive' | 'superseded' | 'removed';

/** The presence that one stream holds. It is never revoked: a machine whose stream ended is gone only when its lease runs out. */
export class HeldPresence {
  #lease: Lease;
  #revision: number;

  constructor(
    private readonly ports: PresencePorts,
    private readonly claim: Claim,
    private readonly more: Pick<Presence, 'replacedBoot'>,
    lease: Lease,
    revision: number,
  ) {
    this.#lease = lease;
    this.#revision = revision;
  }

  /** Of the presence key, when it was last taken: a write of this stream compares with it. */
  get revision(): number {
    return this.#revision;
  }

  get session(): string {
    return this.claim.session;
  }

  /** Whether a value of the presence key was written by this stream. */
  isOurs(value: string): boolean {
    return readPresence(value)?.session === this.claim.session;
  }

  /**
   * One heartbeat, one keepalive. A lease that ran out while etcd was away is replaced, unless somebody else has the machine by now.
   * Rejects when the outcome is unknown: then the heartbeat is not acknowledged.
   */
  async beat(): Promise<Beat> {
    if (await this.#lease.keepAlive()) return 'alive';
    const { store, keys } = this.ports;
    const { entry } = await store.get(keys.presence(this.claim.machine));
    if (entry && entry.modRevision !== this.#revision) return 'superseded';
    const written = await putPresence(this.ports, this.claim, entry?.modRevision ?? 0, presenceTtlMs, this.more);
    if (!written.ok) return isRemoved(this.ports, this.claim, written) ? 'removed' : 'superseded';
    this.#lease = written.lease;
    this.#revision = written.revision;
    return 'alive';
  }
}

type PutOutcome = (Extract<WriteOutcome, { ok: true }> & { readonly lease: Lease }) | Extract<WriteOutcome, { ok: false }>;

async function putPresence(
  { store, keys, clock, serverName }: PresencePorts,
  claim: Claim,
  modRevision: number,
  ttlMs: number,
  more: Partial<Presence>,
): Promise<PutOutcome> {
  const key = keys.presence(claim.machine);
  const lease = await store.lease(ttlMs, { keepAlive: 'manual' });
  const presence: Presence = {
    info: claim.info,
    machineUid: claim.machineUid,
    session: claim.session,
    server: serverName,
    leaseId: lease.id,
    since: clock.now().toISOString(),
    ...more,
  };
  const outcome = await store.commit({
    compares: [
      { key, modRevision },
      { key: keys.object('machines', claim.machine), createRevision: claim.machineCreateRevision },
    ],
    operations: [{ do: 'put', key, value: JSON.stringify(presence), lease: lease.id }],
  });
  return outcome.ok ? { ...outcome, lease } : outcome;
}

const isRemoved = ({ keys }: PresencePorts, claim: Claim, { current }: Extract<WriteOutcome, { ok: false }>): boolean =>
  current.get(keys.object('machines', claim.machine))?.createRevision !== claim.machineCreateRevision;

/** Undefined for a value that cannot be read: it is replaced, and its history with it. */
function readPresence(value: string): Presence | undefined {
  try {
    return Presence.parse(JSON.parse(value));
  } catch {
    return undefined;
  }
}

/** Carries out what `decideSet` says, on condition that what it was decided on still holds; decides anew when it does not. */
import { type Clock, sleep } from '../../../runtime/clock.js';
import type { Freshness } from '../../objects/freshness.js';
import type { ClusterCache, Joined, ObjectDoor } from '../../objects/ports.js';
import { StatusError } from '../../resources/errors.js';
import { apiVersion } from '../../resources/meta.js';
import type { Unit } from '../../resources/unit.js';
import { desiredStateOf } from '../../resources/unit-text.js';
import { decideSet, type SetDecision, type SetRequest } from './decide-set.js';
import { respectGitSync } from './gitsync-owner.js';
import type { RecentStops } from './stops.js';
import type { FleetView } from './view.js';

/** Field manager of everything that is written at fleet's door. */
export const fleetManager = 'fleet';

/** Races that one PUT may lose before it gives up. */
const maxAttempts = 10;

export interface SetPorts {
  readonly cache: ClusterCache;
  readonly door: ObjectDoor;
  readonly view: FleetView;
  readonly freshness: Freshness;
  readonly stops: RecentStops;
  readonly clock: Clock;
  /** How long a PUT waits for a unit of the same name that is being destroyed. */
  readonly predecessorTimeoutMs: number;
}

/**
 * The status code of a PUT that has passed `checkSet`. Throws StatusError.
 *
 * @param hold called when the answer has to wait: signals that abort when nobody waits for it any more; throws when too many wait already
 */
export async function setUnit(ports: SetPorts, request: SetRequest, hold: () => readonly AbortSignal[]): Promise<201 | 204> {
  const { cache, door, view, freshness, clock } = ports;
  const { name } = request;
  const deadlineMs = clock.monotonicMs() + ports.predecessorTimeoutMs;
  let signals: readonly AbortSignal[] | undefined;
  let lost: StatusError | undefined;
  let isFresh = false;
  for (let attempt = 0; attempt < maxAttempts; ) {
    const live = view.unit(name);
    const decision = decideSet(request, live && { hash: view.hashOf(name) });
    if (decision.do === 'refuse') {
      if (isFresh) throw decision.because;
      // Another server may have been told already what this one has yet to see.
      await freshness.confirm();
      isFresh = true;
      continue;
    }
    const predecessor = decision.do === 'create' ? cache.joined('units', name) : undefined;
    if (predecessor) {
      signals ??= hold();
      await untilGone(ports, predecessor, deadlineMs, signals);
      continue;
    }
    if (live !== undefined && !isSoAlready(live as Unit, decision)) respectGitSync(cache, live);
    try {
      if (live === undefined) await door.create('units', newUnit(name, decision), { manager: fleetManager });
      else await door.patch('units', name, { type: 'merge', body: changes(live, decision) }, { manager: fleetManager });
      if (live !== undefined && wasLaunched(live as Unit) && decision.desiredState === 'loaded') ports.stops.note(live.metadata.uid);
      return decision.do === 'steer' ? 204 : 201;
    } catch (error) {
      if (!(error instanceof StatusError) || !hasMoved.has(error.reason)) throw error;
      lost = error;
      attempt++;
    }
  }
  throw lost ?? new StatusError('Conflict', `other writers of ${name} were faster; try again`);
}

type Write = Exclude<SetDecision, { readonly do: 'refuse' }>;

const wasLaunched = ({ spec, status }: Unit): boolean => spec?.desiredState === 'launched' && status?.currentState === 'launched';

const isSoAlready = (unit: Unit, { do: what, desiredState }: Write): boolean => what === 'steer' && desiredState === desiredStateOf(unit);

/** Somebody made, changed or removed the unit meanwhile. */
const hasMoved: ReadonlySet<string> = new Set(['AlreadyExists', 'Conflict', 'NotFound']);

const newUnit = (name: string, decision: Write) => ({
  apiVersion,
  kind: 'Unit',
  metadata: { name },
  spec: { desiredState: decision.desiredState, ...(decision.do !== 'steer' && { content: decision.text }) },
});

/** A merge patch that holds only for the unit as it was seen. Sections are the same file in another form, and make way for it. */
const changes = ({ metadata }: Joined, decision: Write) => ({
  metadata: { resourceVersion: metadata.resourceVersion },
  spec: { desiredState: decision.desiredState, ...(decision.do !== 'steer' && { content: decision.text, sections: null }) },
});

/** Until the unit that is being destroyed has left all machines and the store. Throws Conflict that says who is waited for. */
async function untilGone({ cache, clock }: SetPorts, leaving: Joined, deadlineMs: number, signals: readonly AbortSignal[]): Promise<void> {
  const { name, uid } = leaving.metadata;
  const isGone = (): boolean => cache.joined('units', name)?.metadata.uid !== uid;
  const enough = new AbortController();
  const stop = (): void => enough.abort();
  const unsubscribe = cache.subscribe(() => isGone() && stop());
  const isAborted = (): boolean => signals.some(({ aborted }) => aborted);
  for (const signal of signals) signal.addEventListener('abort', stop);
  try {
    if (!isGone() && !isAborted()) await sleep(clock, Math.max(0, deadlineMs - clock.monotonicMs()), enough.signal);
  } finally {
    unsubscribe();
    for (const signal of signals) signal.removeEventListener('abort', stop);
  }
  // What nobody waits for must not happen later, out of the blue.
  if (isAborted()) throw new StatusError('ServiceUnavailable', 'this server is stopping', { retryAfterSeconds: 1 });
  if (isGone()) return;
  const machines = [...cache.assignmentsOf(name).keys()];
  const where = machines.length === 0 ? '' : `, on ${machines.join(', ')}`;
  throw new StatusError('Conflict', `the unit ${name} of before is still being destroyed${where}: try again when it is gone`);
}

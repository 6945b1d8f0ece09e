/**
 * What systemd was last seen to say of each unit of ours. Fed by its signals, which carry the whole truth of their moment, by looking
 * before and after each change, and by a resync on a period that finds what a lost signal would have told.
 */
import { isDown, isUp, type RunFacts, type SeenUnit, type ServiceFacts, type UnitChange, type UnitDetails } from './systemd.js';

export interface Observation {
  readonly seen: SeenUnit;
  readonly run: RunFacts;
  readonly service?: ServiceFacts;
  readonly type?: string;
  /** State before the current one: tells a daemon that was stopped from a oneshot that ended. */
  readonly before?: Pick<SeenUnit, 'active' | 'sub'>;
}

/** What was seen of a unit's last run by an earlier agent, and told to the server. */
export type LastRun = Pick<Observation, 'run' | 'service'>;

export const unseen = (name: string): SeenUnit => ({ id: name, load: 'not-found', active: 'inactive', sub: 'dead' });

export class Observations {
  readonly #units = new Map<string, Observation>();
  readonly #remembered = new Map<string, LastRun>();
  /** Units whose details are of the current connection: signals keep them up to date. */
  readonly #current = new Set<string>();
  readonly #changed: (name: string) => void;

  constructor(changed: (name: string) => void) {
    this.#changed = changed;
  }

  get(name: string): Observation | undefined {
    return this.#units.get(name);
  }

  has(name: string): boolean {
    return this.#units.has(name);
  }

  forget(name: string): void {
    this.#units.delete(name);
    this.#remembered.delete(name);
    this.#current.delete(name);
  }

  /** A row was read. Returns whether it differs from what was known: then the details known are about another time. */
  row(name: string, seen: SeenUnit): boolean {
    const known = this.#units.get(name);
    const isSame = known?.seen.active === seen.active && known.seen.sub === seen.sub && known.seen.load === seen.load;
    this.#set(name, { ...(known ?? { run: {} }), seen, ...stateBefore(known, seen) });
    // Not told of by a signal: then the details were not, either.
    if (!isSame) this.#current.delete(name);
    return !isSame;
  }

  details(name: string, { run, service, type }: UnitDetails): void {
    const known = this.#units.get(name);
    if (!known) return;
    this.#current.add(name);
    const { seen, before } = known;
    // systemd forgets the last run of a unit once nothing needs it any more; what was seen of it stays true.
    const last = known.run.invocationID === undefined ? this.#remembered.get(name) : known;
    const facts = run.invocationID === undefined && isDown(seen) && last ? last : { run, service };
    this.#set(name, {
      seen,
      run: facts.run,
      ...(facts.service ? { service: facts.service } : {}),
      ...(before ? { before } : {}),
      ...((type ?? known.type) ? { type: (type ?? known.type)! } : {}),
    });
  }

  /** Whether the details are as fresh as the row. */
  areDetailsCurrent(name: string): boolean {
    return this.#current.has(name);
  }

  /** Whether a signal has told of a run that is up and is another one than `invocation`: systemd sends it before the job's end. */
  isUpSince(name: string, invocation: string): boolean {
    const { seen, run } = this.#units.get(name) ?? {};
    if (seen === undefined || !isUp(seen) || !this.#current.has(name)) return false;
    return run?.invocationID !== undefined && run.invocationID !== invocation;
  }

  /** Signals may have been lost: details have to be read again. */
  doubtDetails(): void {
    this.#current.clear();
  }

  /** For units that systemd has forgotten since. */
  remember(name: string, lastRun: LastRun): void {
    this.#remembered.set(name, lastRun);
  }

  /** A signal of systemd's. Units that are not ours are not looked at. */
  change(name: string, change: UnitChange): void {
    const known = this.#units.get(name);
    if (!known) return;
    if (change.of === 'service') {
      this.#set(name, { ...known, service: change.service });
      return;
    }
    const seen = {
      ...known.seen,
      load: known.seen.load === 'not-found' ? 'loaded' : known.seen.load,
      active: change.active,
      sub: change.sub,
    };
    this.#current.add(name);
    this.#set(name, { ...known, seen, run: change.run, ...stateBefore(known, seen) });
  }

  /** Somebody's job ended and the unit is down: was it stopped, or did it end by itself what the job had started? */
  wasStopped(name: string): boolean {
    const { seen, before, type } = this.#units.get(name) ?? {};
    if (!seen || !isDown(seen) || !before) return false;
    if (type === 'oneshot') return before.active === 'active';
    return ['active', 'reloading', 'deactivating'].includes(before.active) || before.sub === 'auto-restart';
  }

  #set(name: string, observation: Observation): void {
    const known = this.#units.get(name);
    this.#units.set(name, observation);
    if (JSON.stringify(known) !== JSON.stringify(observation)) this.#changed(name);
  }
}

const stateBefore = (known: Observation | undefined, seen: SeenUnit): Pick<Observation, 'before'> => {
  if (known === undefined) return {};
  const { active, sub } = known.seen;
  if (active !== seen.active) return { before: { active, sub } };
  return known.before ? { before: known.before } : {};
};

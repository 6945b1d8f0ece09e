/** Units, states and machines as fleet shows them. All from the cache; whatever is empty is left out, as fleet left it out. */
import type { ClusterCache, Joined, Row } from '../../objects/ports.js';
import type { Assignment } from '../../resources/assignment.js';
import type { Machine } from '../../resources/machine.js';
import { effectivePlacement } from '../../resources/placement.js';
import type { DesiredState, Unit } from '../../resources/unit.js';
import { type FleetOption, fleetHash, shownOptions } from '../../resources/unit-file/fleet-hash.js';
import { desiredStateOf, templateNameOf } from '../../resources/unit-text.js';

export interface FleetUnit {
  readonly currentState?: DesiredState;
  readonly desiredState: DesiredState;
  readonly machineID?: string;
  readonly name: string;
  readonly options?: readonly FleetOption[];
}

export interface FleetState {
  readonly hash?: string;
  readonly machineID: string;
  readonly name: string;
  readonly systemdActiveState: string;
  readonly systemdLoadState: string;
  readonly systemdSubState: string;
}

export interface FleetMachine {
  readonly id: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly primaryIP?: string;
}

interface ReadText {
  readonly options: readonly FleetOption[];
  readonly hash: string;
}

/** A list that is made once for each revision: whoever walks through its pages in a quiet cluster has it made once. */
class PerRevision<T> {
  #revision = -1;
  #list: T[] = [];

  at(revision: number, make: () => T[]): readonly T[] {
    if (revision !== this.#revision) {
      this.#list = make();
      this.#revision = revision;
    }
    return this.#list;
  }
}

export class FleetView {
  /** Texts never change, so each is read once, however many pages it is on. */
  readonly #texts = new WeakMap<Row<string>, ReadText>();

  /** Whether it is global, by what it says itself: a joined object never changes either. */
  readonly #globals = new WeakMap<Unit, boolean>();

  readonly #units = new PerRevision<Joined>();
  readonly #assignments = new PerRevision<Assignment>();

  constructor(private readonly cache: ClusterCache) {}

  /**
   * Undefined for a unit that is being deleted, too: to fleet it is gone with the DELETE. What still runs of it is in `states`, and a PUT
   * of its name waits for it.
   */
  unit(name: string): Joined | undefined {
    const unit = this.cache.joined('units', name);
    return unit?.metadata.deletionTimestamp ? undefined : unit;
  }

  /** Whether it is being deleted. */
  isLeaving(name: string): boolean {
    return Boolean(this.cache.joined('units', name)?.metadata.deletionTimestamp);
  }

  /** Sorted by name. */
  units(): readonly Joined[] {
    return this.#units.at(this.cache.revision, () => this.cache.joinedAll('units').filter(({ metadata }) => !metadata.deletionTimestamp));
  }

  unitBody(object: Joined): FleetUnit {
    const unit = object as Unit;
    const { name } = unit.metadata;
    const options = this.#textOf(name)?.options ?? [];
    return {
      ...(!this.#isGlobal(unit) && { currentState: unit.status?.currentState ?? 'inactive' }),
      desiredState: desiredStateOf(unit),
      ...(unit.status?.machine !== undefined && { machineID: unit.status.machine }),
      name,
      ...(options.length > 0 && { options }),
    };
  }

  /** '' for an instance whose template is not there. */
  hashOf(name: string): string {
    return this.#textOf(name)?.hash ?? '';
  }

  /** What was seen on machines that are heard of, by unit and machine. The state of a machine that is gone is gone with it, as in fleet. */
  states(only: { readonly unit?: string | undefined; readonly machine?: string | undefined } = {}): Assignment[] {
    return this.#assignments
      .at(this.cache.revision, () => this.cache.joinedAll('assignments') as Assignment[])
      .filter(({ spec, status }) => {
        if (spec === undefined || status === undefined || status.gone) return false;
        if (only.unit !== undefined && spec.unit !== only.unit) return false;
        if (only.machine !== undefined && spec.machine !== only.machine) return false;
        return this.cache.presence(spec.machine) !== undefined;
      });
  }

  /** The unit's one state: on the machine where it is now, or else on the first that has any. */
  stateOf(unit: string): Assignment | undefined {
    const states = this.states({ unit });
    const { machine } = (this.cache.joined('units', unit) as Unit | undefined)?.status ?? {};
    return states.find(({ spec }) => spec?.machine === machine) ?? states[0];
  }

  /** The assignment has a state. */
  stateBody({ spec, status }: Assignment): FleetState {
    const text = status!.textHash === '' ? undefined : this.cache.content(status!.textHash);
    return {
      ...(text && { hash: this.#read(text).hash }),
      machineID: spec!.machine,
      name: spec!.unit,
      systemdActiveState: status!.active,
      systemdLoadState: status!.load,
      systemdSubState: status!.sub,
    };
  }

  /** Machines that are heard of, sorted by id. */
  machines(): Joined[] {
    return this.cache.joinedAll('machines').filter(({ metadata }) => this.cache.presence(metadata.name) !== undefined);
  }

  machineBody(object: Joined): FleetMachine {
    const { metadata } = object as Machine;
    const { labels = {}, name } = metadata;
    const address = this.cache.presence(name)?.value.info.address;
    return {
      id: name,
      ...(Object.keys(labels).length > 0 && { metadata: labels }),
      ...(address && { primaryIP: address }),
    };
  }

  #isGlobal(unit: Unit): boolean {
    if (unit.status?.desiredMachines !== undefined) return true;
    const known = this.#globals.get(unit);
    if (known !== undefined) return known;
    const { metadata, spec = {} } = unit;
    const template = this.#followedBy(metadata.name);
    const templateSpec = template === undefined ? undefined : (this.cache.joined('units', template) as Unit | undefined)?.spec;
    const { global } = effectivePlacement({ name: metadata.name, spec, text: this.#contentOf(metadata.name)?.value, templateSpec });
    // A template can change without its followers.
    if (template === undefined) this.#globals.set(unit, global);
    return global;
  }

  /** The template that gives the unit its text, when it has none of its own. */
  #followedBy(name: string): string | undefined {
    return this.cache.object('units', name)?.value.textHash === undefined ? templateNameOf(name) : undefined;
  }

  #contentOf(name: string): Row<string> | undefined {
    const hash = this.cache.object('units', this.#followedBy(name) ?? name)?.value.textHash;
    return hash === undefined ? undefined : this.cache.content(hash);
  }

  #textOf(name: string): ReadText | undefined {
    const row = this.#contentOf(name);
    return row && this.#read(row);
  }

  #read(row: Row<string>): ReadText {
    const known = this.#texts.get(row);
    if (known) return known;
    const read = { options: shownOptions(row.value) ?? [], hash: fleetHash(row.value) };
    this.#texts.set(row, read);
    return read;
  }
}

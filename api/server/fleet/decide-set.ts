/** What a PUT of a unit means: fleet's table, with its faults answered as its documentation promises. Pure. */
import { StatusError } from '../../resources/errors.js';
import { DesiredState } from '../../resources/unit.js';
import { type FleetOption, fleetHash } from '../../resources/unit-file/fleet-hash.js';
import { isTemplateName } from '../../resources/unit-name.js';
import { textOfOptions } from './options.js';
import { fleetNameProblem } from './unit-names.js';

/** The body of a PUT, with the name that it goes by. */
export interface SetRequest {
  readonly name: string;
  readonly options: readonly FleetOption[];
  /** As it was given; '' for none. */
  readonly desiredState: string;
}

/** The unit as it is now. */
export interface KnownUnit {
  /** fleet's hash of its text. */
  readonly hash: string;
}

export type SetDecision =
  /** 201: there was none. */
  | { readonly do: 'create'; readonly text: string; readonly desiredState: DesiredState }
  /** 201: there was one with other options. */
  | { readonly do: 'overwrite'; readonly text: string; readonly desiredState: DesiredState }
  /** 204: only the desired state. */
  | { readonly do: 'steer'; readonly desiredState: DesiredState }
  | { readonly do: 'refuse'; readonly because: StatusError };

/** Throws BadRequest for what is wrong whatever there is. */
export function checkSet({ name, desiredState }: SetRequest): void {
  const problem = fleetNameProblem(name);
  if (problem !== undefined) throw new StatusError('BadRequest', problem);
  if (desiredState === '') return;
  if (!DesiredState.options.includes(desiredState as DesiredState)) {
    const message = `invalid desiredState ${JSON.stringify(desiredState.slice(0, 64))}: expected ${DesiredState.options.join(', ')}`;
    throw new StatusError('BadRequest', message);
  }
  if (isTemplateName(name) && desiredState !== 'inactive') {
    throw new StatusError('BadRequest', `cannot activate template ${JSON.stringify(name)}`);
  }
}

/** Throws BadRequest for options that make no unit file. The request has passed `checkSet`. */
export function decideSet({ options, desiredState }: SetRequest, known: KnownUnit | undefined): SetDecision {
  const given = desiredState === '' ? undefined : (desiredState as DesiredState);
  const text = options.length === 0 ? undefined : textOfOptions(options);
  if (known === undefined) {
    if (text === undefined) return refuse('unit does not exist and options field empty');
    return { do: 'create', text, desiredState: given ?? 'inactive' };
  }
  if (text !== undefined && fleetHash(text) !== known.hash) return { do: 'overwrite', text, desiredState: given ?? 'inactive' };
  if (given === undefined) return refuse('must provide DesiredState to update existing unit');
  return { do: 'steer', desiredState: given };
}

const refuse = (message: string): SetDecision => ({ do: 'refuse', because: new StatusError('Conflict', message) });

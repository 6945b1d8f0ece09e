/**
 * What `submit`, `load` and `start` do with one unit: pure, what is in the cluster and what lies here in, one write out. A unit is created
 * in the state that the verb asks for and updated in place, in one write each: it never stops being wanted in between.
 */
import { isStartResultReason } from '../../../api/resources/start-results.js';
import type { DesiredState, Unit } from '../../../api/resources/unit.js';
import { desiredStateOf, isTemplateName } from '../../../api/resources/unit-text.js';
import { conditionOf, type WireObject } from '../../objects.js';
import { type Candidate, clusterText, isSameText } from './unit-texts.js';

export const verbs = { submit: 'inactive', load: 'loaded', start: 'launched' } as const satisfies Record<string, DesiredState>;
export type BringingVerb = keyof typeof verbs;

export interface Found {
  readonly name: string;
  readonly unit: WireObject | undefined;
  /** In the cluster. */
  readonly template: WireObject | undefined;
  readonly local: Candidate | undefined;
  /** Machines on which a global unit has failed. */
  readonly failedOn?: readonly string[];
}

export type Change =
  | { readonly do: 'create'; readonly spec: { readonly desiredState: DesiredState; readonly content: string }; readonly from: Candidate }
  | { readonly do: 'patch'; readonly spec: Readonly<Record<string, unknown>>; readonly from?: Candidate }
  /** Wanted already, and its run is over: started once more. */
  | { readonly do: 'start again'; readonly machines?: readonly string[] }
  | { readonly do: 'nothing' }
  | { readonly do: 'refuse'; readonly why: string };

export interface Planned {
  readonly change: Change;
  /** What fleet says about it. */
  readonly warning?: string;
  readonly note?: string;
}

export function planUnit(found: Found, verb: BringingVerb, replace: boolean): Planned {
  const { name, unit, template, local, failedOn = [] } = found;
  const wanted = isTemplateName(name) ? 'inactive' : verbs[verb];
  if (unit === undefined) return planNew(found, wanted, replace);

  const differs = local !== undefined && !isSameText(clusterText(unit, template), local.text);
  const before = desiredStateOf(unit as Unit);
  const warning = differs && !replace ? differsWarning(name, local) : undefined;
  const note = replace && local !== undefined && !differs ? `Found same Unit(${name}) in Registry, nothing to do` : undefined;
  const said = { ...(warning === undefined ? {} : { warning }), ...(note === undefined ? {} : { note }) };

  if (replace && local === undefined)
    return { change: { do: 'refuse', why: `--replace needs the unit file of ${name}, which is not here` } };
  if (replace && differs && verb === 'submit' && before !== 'inactive') {
    const why = `can not replace Unit(${name}) in state '${before}', use the appropriate command: ${before === 'launched' ? 'start' : 'load'} --replace`;
    return { change: { do: 'refuse', why } };
  }
  const state = verb === 'submit' || before === wanted ? {} : { desiredState: wanted };
  if (replace && differs) return { change: { do: 'patch', spec: { ...state, content: local.text, sections: null }, from: local } };
  if (Object.keys(state).length > 0) return { change: { do: 'patch', spec: state }, ...said };
  if (verb === 'start' && failedOn.length > 0) return { change: { do: 'start again', machines: failedOn }, ...said };
  if (verb === 'start' && hasEnded(unit)) return { change: { do: 'start again' }, ...said };
  return { change: { do: 'nothing' }, ...said };
}

function planNew({ name, template, local }: Found, wanted: DesiredState, replace: boolean): Planned {
  const text = template && clusterText(template, undefined);
  const inCluster: Candidate | undefined =
    text === undefined ? undefined : { text, from: `template ${template?.metadata.name}`, kind: 'template in the cluster' };
  // The template that the cluster knows comes before the one that happens to lie here, unless that is to replace it.
  const from = local?.kind === 'file' || (replace && local) ? local : (inCluster ?? local);
  if (!from) return { change: { do: 'refuse', why: `unable to find Unit(${name}) in Registry or on filesystem` } };
  const isOther = from.kind === 'template in the cluster' && local !== undefined && !isSameText(from.text, local.text);
  return {
    change: { do: 'create', spec: { desiredState: wanted, content: from.text }, from },
    ...(isOther ? { warning: differsWarning(template?.metadata.name ?? name, local) } : {}),
  };
}

const differsWarning = (name: string, { from, kind }: Candidate): string =>
  `WARNING: Unit ${name} in registry differs from local ${kind === 'template file' ? 'template ' : ''}unit file ${from}. Add --replace to override.`;

/** Wanted launched, not as wanted, and nothing is going on any more: neither its agent nor systemd will start it again. */
function hasEnded(unit: WireObject): boolean {
  const ready = conditionOf(unit, 'Ready');
  if (ready?.status !== 'False') return false;
  return ['Failed', 'Ended', 'LoadFailed', 'NotLoaded'].includes(ready.reason) || isStartResultReason(ready.reason);
}

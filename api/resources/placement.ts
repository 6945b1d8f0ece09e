/** Where a unit may run: `spec.placement` and the placement sections of its unit file as one, resolved and checked. */
import { parseDuration } from './duration.js';
import type { FieldError } from './errors.js';
import { globMatch, globMatcher } from './glob.js';
import { labelKeyProblem, labelValueProblem } from './meta-validation.js';
import { type FileValue, type PlacementOption, placementOptions, readFilePlacement } from './placement-options.js';
import { cpuMillis, memoryBytes } from './quantity.js';
import { validateLabelSelector } from './selectors.js';
import { type Toleration, validateTolerations } from './taints.js';
import type { LabelSelector, Placement, UnitSpec } from './unit.js';
import { parseUnitFile, UnitFileError } from './unit-file/parse.js';
import { expandSpecifiers } from './unit-file/specifiers.js';
import { isTemplateName, unitNameProblem } from './unit-name.js';

export type FailoverPolicy = 'stay' | 'atLeastOnce' | 'atMostOnce';

/** All that the scheduler asks of a unit, with specifiers expanded and defaults filled in. */
export interface EffectivePlacement {
  /** 32 hex digits, or the first 8. */
  readonly machineID?: string;
  /** Names of units on whose machine it must run. */
  readonly machineOf: readonly string[];
  /** Label of the machine → values of which it must have one. */
  readonly metadata: ReadonlyMap<string, readonly string[]>;
  readonly selector?: LabelSelector;
  /** Globs of units that must not share the machine. */
  readonly conflicts: readonly string[];
  /** Globs of units that give way. */
  readonly replaces: readonly string[];
  readonly global: boolean;
  readonly tolerations: readonly Toleration[];
  readonly requests: { readonly cpuMillis: number; readonly memoryBytes: number };
  readonly failover: { readonly policy: FailoverPolicy; readonly deadlineMs: number; readonly stopWithinMs: number };
  /** Why it cannot be placed as it is written, in sentences; empty for a unit that passed validation and has its text. */
  readonly problems: readonly string[];
}

export interface PlacementInput {
  /** The unit's own name: specifiers take their values from it. */
  readonly name: string;
  readonly spec: UnitSpec;
  /** Its unit text: its own, or its template's. */
  readonly text?: string | undefined;
  /**
   * For an instance that follows a template: the template's spec. What the instance's own spec names wins, option by option, over the
   * template's spec and text.
   */
  readonly templateSpec?: UnitSpec | undefined;
}

const defaultDeadlineMs = 30_000;
const defaultStopWithinMs = 10_000;

/** The same bounds as in the schema of `spec.placement`, for what comes from a unit file. */
const maxValues: Readonly<Record<PlacementOption, number>> = {
  MachineID: 50,
  MachineOf: 50,
  MachineMetadata: 100,
  Conflicts: 100,
  Replaces: 100,
  Global: 50,
};
const maxValueLength = 512;

/** fleet's words for true, and their opposites; case counts for nothing. */
const truthy = ['true', 'yes', '1', 'on', 't'];
const falsy = ['false', 'no', '0', 'off', 'f'];

/** A value with the place it came from, for errors. */
interface Given {
  readonly value: string;
  readonly error: (message: string) => FieldError;
}

/** Never throws: a unit that cannot be placed says why in `problems`. */
export function effectivePlacement(input: PlacementInput): EffectivePlacement {
  const { placement, errors } = resolvePlacement(input);
  return { ...placement, problems: errors.map(({ field, message }) => `${field}: ${message}`) };
}

/** As effectivePlacement, with the errors as errors of fields: for validation. */
export function resolvePlacement(input: PlacementInput): { placement: Omit<EffectivePlacement, 'problems'>; errors: FieldError[] } {
  const { name, spec, templateSpec } = input;
  const errors: FieldError[] = [];
  const given = gather(input, errors);
  const values = (option: PlacementOption): readonly Given[] => given.get(option) ?? [];
  /** A template's specifiers have no values yet, so what holds one cannot be judged. */
  const open = ({ value }: Given): boolean => isTemplateName(name) && /%[nNpi]/.test(value);

  const machineIDs = values('MachineID').slice(0, 1);
  const machineID = machineIDs[0]?.value.replaceAll('-', '').toLowerCase();
  for (const id of machineIDs) {
    if (!open(id) && !/^(?:[0-9a-f]{8}|[0-9a-f]{32})$/.test(machineID!)) {
      errors.push(id.error('expected a machine id: the 32 hex digits of /etc/machine-id, or the first 8'));
    }
  }

  for (const peer of values('MachineOf')) {
    if (open(peer)) continue;
    const problem = unitNameProblem(peer.value);
    if (problem !== undefined) errors.push(peer.error(`expected the name of a unit, got ${JSON.stringify(peer.value)}: ${problem}`));
    else if (peer.value === name) errors.push(peer.error('a unit cannot be placed by where it runs itself'));
    else if (isTemplateName(peer.value)) errors.push(peer.error(`${peer.value} is a template, which runs nowhere; name an instance of it`));
  }

  const metadata = new Map<string, string[]>();
  for (const pair of values('MachineMetadata')) {
    const parts = pair.value.split('=');
    const [key = '', value = ''] = parts;
    if (parts.length !== 2 || key === '' || value === '') {
      errors.push(pair.error(`expected key=value with one "=", got ${JSON.stringify(pair.value)}`));
      continue;
    }
    const problem = labelKeyProblem(key) ?? labelValueProblem(value);
    if (problem !== undefined) errors.push(pair.error(`${JSON.stringify(pair.value)}: ${problem}`));
    const alternatives = metadata.get(key) ?? [];
    if (!alternatives.includes(value)) alternatives.push(value);
    metadata.set(key, alternatives);
  }

  for (const glob of [...values('Conflicts'), ...values('Replaces')]) {
    if (globMatcher(glob.value) === undefined)
      errors.push(glob.error(`${JSON.stringify(glob.value)} is not a glob: a "[" or "\\" is not closed`));
  }

  const globalWord = values('Global').at(-1);
  const global = globalWord !== undefined && truthy.includes(globalWord.value.toLowerCase());
  if (globalWord !== undefined && !global && !falsy.includes(globalWord.value.toLowerCase())) {
    errors.push(globalWord.error(`expected true or false, got ${JSON.stringify(globalWord.value)}`));
  }

  const placement = {
    ...(machineID === undefined ? {} : { machineID }),
    machineOf: unique(values('MachineOf')),
    metadata,
    conflicts: unique(values('Conflicts')),
    replaces: unique(values('Replaces')),
    global,
  };
  for (const message of contradictions(placement)) errors.push({ field: 'spec.placement', message });

  const selector = spec.placement?.machineSelector ?? templateSpec?.placement?.machineSelector;
  const tolerations = spec.placement?.tolerations ?? templateSpec?.placement?.tolerations ?? [];
  errors.push(...validateTolerations(tolerations, 'spec.placement.tolerations'));
  if (selector !== undefined) errors.push(...validateLabelSelector(selector, 'spec.placement.machineSelector'));

  return {
    placement: {
      ...placement,
      ...(selector === undefined ? {} : { selector }),
      tolerations,
      requests: requestsOf(spec.resources ?? templateSpec?.resources, errors),
      failover: failoverOf(spec.failover ?? templateSpec?.failover, placement, errors),
    },
    errors,
  };
}

const unique = (list: readonly Given[]): string[] => [...new Set(list.map(({ value }) => value))];

/** The values of each option, from the one place that names it. */
function gather({ name, spec, text, templateSpec }: PlacementInput, errors: FieldError[]): Map<PlacementOption, readonly Given[]> {
  const fileField = spec.sections === undefined ? 'spec.content' : 'spec.sections';
  const fromFile = fileValues(text, fileField, errors);
  const given = new Map<PlacementOption, readonly Given[]>();
  for (const [option, { field }] of Object.entries(placementOptions) as [PlacementOption, { field: keyof Placement }][]) {
    const own = specValues(spec.placement, field);
    const inherited = specValues(templateSpec?.placement, field);
    const inFile = fromFile.get(option);
    if (own !== undefined && inFile !== undefined && templateSpec === undefined) {
      const { name: written, section, line } = inFile[0]!;
      errors.push({
        field: `spec.placement.${field}`,
        message: `is also given as ${written} in [${section}] (line ${line}); give it in one place`,
      });
    }
    for (const [index, { value, at }] of (own ?? []).entries()) {
      if (own!.findIndex((other) => other.value === value) < index) {
        errors.push({ field: at, message: 'is listed twice', reason: 'FieldValueDuplicate' });
      }
    }
    if (own !== undefined || (inherited !== undefined && inFile === undefined)) {
      const values = (own ?? inherited)!;
      given.set(
        option,
        values.map(({ value, at }) => ({ value: expandSpecifiers(value, name), error: (message) => ({ field: at, message }) })),
      );
    } else if (inFile !== undefined) {
      if (inFile.length > maxValues[option]) {
        errors.push({
          field: fileField,
          message: `line ${inFile[0]!.line}: ${option} has ${inFile.length} values, at most ${maxValues[option]} are allowed`,
        });
      }
      given.set(
        option,
        inFile.slice(0, maxValues[option]).map((value) => fromUnitFile(value, name, fileField)),
      );
    }
  }
  return given;
}

function fromUnitFile({ value, line, name: written, section }: FileValue, unit: string, field: string): Given {
  return {
    value: expandSpecifiers(value.slice(0, maxValueLength), unit),
    error: (message) => ({ field, message: `line ${line}: ${written} in [${section}]: ${message}` }),
  };
}

function fileValues(text: string | undefined, field: string, errors: FieldError[]): ReadonlyMap<PlacementOption, readonly FileValue[]> {
  if (text === undefined) return new Map();
  try {
    const { values, problems } = readFilePlacement(parseUnitFile(text));
    for (const { line, message } of problems) errors.push({ field, message: `line ${line}: ${message}` });
    for (const { line, name, value } of [...values.values()].flat()) {
      if (value.length > maxValueLength)
        errors.push({ field, message: `line ${line}: ${name} is longer than ${maxValueLength} characters` });
    }
    return values;
  } catch (error) {
    if (!(error instanceof UnitFileError)) throw error;
    for (const { line, message } of error.problems) errors.push({ field, message: `line ${line}: ${message}` });
    return new Map();
  }
}

/** Undefined when the option is not named; an empty list names it. */
function specValues(placement: Placement | undefined, field: keyof Placement): { value: string; at: string }[] | undefined {
  const value = placement?.[field];
  if (value === undefined) return undefined;
  const at = `spec.placement.${field}`;
  if (Array.isArray(value)) return value.map((item, index) => ({ value: String(item), at: `${at}[${index}]` }));
  return [{ value: String(value), at }];
}

/** Options that cannot be had together, in fleet's words and order. */
function contradictions({
  machineID,
  machineOf,
  conflicts,
  replaces,
  global,
}: Pick<EffectivePlacement, 'machineOf' | 'conflicts' | 'replaces' | 'global'> & { readonly machineID?: string }): string[] {
  const found: string[] = [];
  for (const peer of machineOf) {
    for (const glob of conflicts) {
      if (globMatch(glob, peer))
        found.push(`unresolvable requirements: peer ${JSON.stringify(peer)} matches conflict ${JSON.stringify(glob)}`);
    }
    for (const glob of replaces) {
      if (globMatch(glob, peer))
        found.push(`unresolvable requirements: peer ${JSON.stringify(peer)} matches replace ${JSON.stringify(glob)}`);
    }
  }
  const pinned = machineID !== undefined;
  if (pinned && machineOf.length > 0) found.push('MachineID cannot be used with Peers');
  if (pinned && conflicts.length > 0) found.push('MachineID cannot be used with Conflicts');
  if (pinned && global) found.push('MachineID cannot be used with Global');
  if (pinned && replaces.length > 0) found.push('MachineID cannot be used with Replaces');
  if (global && machineOf.length > 0) found.push('Global cannot be used with Peers');
  if (global && replaces.length > 0) found.push('Global cannot be used with Replaces');
  if (conflicts.length > 0 && replaces.length > 0) found.push('Conflicts cannot be used with Replaces');
  return found.slice(0, 20);
}

function requestsOf(resources: UnitSpec['resources'], errors: FieldError[]): EffectivePlacement['requests'] {
  const read = (name: 'cpu' | 'memory', parse: (text: string) => number | undefined, example: string): number => {
    const text = resources?.requests?.[name];
    if (text === undefined) return 0;
    const amount = parse(text);
    if (amount === undefined) errors.push({ field: `spec.resources.requests.${name}`, message: `expected a quantity such as ${example}` });
    return amount ?? 0;
  };
  return { cpuMillis: read('cpu', cpuMillis, '"500m" or "2"'), memoryBytes: read('memory', memoryBytes, '"256Mi" or "1G"') };
}

/** SEMANTICS 20. */
function failoverOf(
  failover: UnitSpec['failover'],
  { machineID, global }: { readonly machineID?: string; readonly global: boolean },
  errors: FieldError[],
): EffectivePlacement['failover'] {
  const policy = failover?.policy ?? (machineID !== undefined || global ? 'stay' : 'atLeastOnce');
  if (policy === 'atMostOnce') {
    errors.push({
      field: 'spec.failover.policy',
      message:
        'atMostOnce arrives with the guard that stops a unit on a machine cut off from the cluster, and is not available yet; use stay or atLeastOnce',
      reason: 'FieldValueNotSupported',
    });
  }
  if (policy !== 'stay' && global) {
    errors.push({
      field: 'spec.failover.policy',
      message: `a global unit runs on every machine already, so it can only stay, not ${policy}`,
    });
  }
  const duration = (name: 'deadline' | 'stopWithin', standard: number): number => {
    const text = failover?.[name];
    if (text === undefined) return standard;
    const field = `spec.failover.${name}`;
    if (policy !== 'atMostOnce') errors.push({ field, message: 'only means something with policy atMostOnce' });
    const ms = parseDuration(text);
    if (ms === undefined || ms <= 0) errors.push({ field, message: 'expected a duration such as "30s" or "1m30s"' });
    return ms ?? standard;
  };
  return { policy, deadlineMs: duration('deadline', defaultDeadlineMs), stopWithinMs: duration('stopWithin', defaultStopWithinMs) };
}

/** Whether one machine suits one unit, from what both say of themselves; each "no" is the end of a sentence. */
import { globMatcher } from '../../api/resources/glob.js';
import type { Taint } from '../../api/resources/machine.js';
import { tolerates } from '../../api/resources/taints.js';
import type { LabelSelector } from '../../api/resources/unit.js';
import type { Constraints, PlannedMachine } from './types.js';

export const shortId = (machine: string): string => machine.slice(0, 8);

const matchers = new Map<string, (name: string) => boolean>();
const rememberedGlobs = 10_000;

/** As `globMatch`, with the pattern compiled once: the planner asks the same few patterns about thousands of names. */
export function globMatches(pattern: string, name: string): boolean {
  let matcher = matchers.get(pattern);
  if (!matcher) {
    if (matchers.size >= rememberedGlobs) matchers.clear();
    matcher = matcherOf(pattern);
    matchers.set(pattern, matcher);
  }
  return matcher(name);
}

/** Most names differ from a pattern in what stands before its first wildcard: then there is nothing more to try. */
function matcherOf(pattern: string): (name: string) => boolean {
  const matches = globMatcher(pattern);
  if (!matches) return () => false;
  const prefix = /^[^*?[\\]*/.exec(pattern)![0];
  return prefix === '' ? matches : (name) => name.startsWith(prefix) && matches(name);
}

/** A glob without wildcards is a name: it can be looked up instead of tried on each. */
export const isLiteral = (pattern: string): boolean => !/[*?[\\]/.test(pattern);

export const conflictsWith = (constraints: Constraints, self: string, other: string): boolean =>
  self !== other && constraints.conflicts.some((pattern) => globMatches(pattern, other));

export const replaces = (constraints: Constraints, self: string, other: string): boolean =>
  self !== other && constraints.replaces.some((pattern) => globMatches(pattern, other));

export const spellTaint = (taint: Taint): string => `${taint.key}${taint.value ? `=${taint.value}` : ''}:${taint.effect}`;

export function untolerated(constraints: Constraints, machine: PlannedMachine, effects: readonly Taint['effect'][]): Taint | undefined {
  return machine.taints.find((taint) => effects.includes(taint.effect) && !tolerates(constraints.tolerations, taint));
}

function selectorMismatch(selector: LabelSelector, labels: Readonly<Record<string, string>>): string | undefined {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (label(labels, key) !== value) return `no label ${key}=${value}`;
  }
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const value = label(labels, key);
    if (operator === 'Exists' && value === undefined) return `no label ${key}`;
    if (operator === 'DoesNotExist' && value !== undefined) return `has label ${key}`;
    if (operator === 'In' && (value === undefined || !values.includes(value))) return `label ${key} not in (${values.join(', ')})`;
    if (operator === 'NotIn' && value !== undefined && values.includes(value)) return `label ${key} in (${values.join(', ')})`;
  }
  return undefined;
}

const label = (labels: Readonly<Record<string, string>>, key: string): string | undefined =>
  Object.hasOwn(labels, key) ? labels[key] : undefined;

export const isPinnedTo = (machineID: string, id: string): boolean => machineID === id || machineID === shortId(id);

/** What the unit's own wishes have against the machine, whoever else runs there: enough for it to move off. */
export function unsuited(constraints: Constraints, machine: PlannedMachine): string | undefined {
  if (constraints.machineID !== undefined && !isPinnedTo(constraints.machineID, machine.id)) {
    return `not the machine ${shortId(constraints.machineID)}`;
  }
  // What nobody knows of a machine moves nobody off it (invariant 7).
  if (machine.isUnreadable) return undefined;
  for (const [key, values] of constraints.metadata) {
    const value = label(machine.labels, key);
    if (value === undefined || !values.includes(value)) return `no metadata ${values.map((wanted) => `${key}=${wanted}`).join(' or ')}`;
  }
  const mismatch = constraints.selector && selectorMismatch(constraints.selector, machine.labels);
  if (mismatch !== undefined) return mismatch;
  const taint = untolerated(constraints, machine, ['NoExecute']);
  return taint && `taint ${spellTaint(taint)}`;
}

/** Why nothing new of this unit goes to the machine, whoever else runs there. */
export function closed(constraints: Constraints, machine: PlannedMachine): string | undefined {
  if (machine.health !== 'present') return 'not answering';
  if (machine.draining) return 'being drained';
  if (machine.cordoned) return 'cordoned';
  const reason = unsuited(constraints, machine);
  if (reason !== undefined) return reason;
  const taint = untolerated(constraints, machine, ['NoSchedule']);
  return taint && `taint ${spellTaint(taint)}`;
}

/** Units whose answers from `closed` are the same on every machine have the same key. */
export function selectionKey({ machineID, metadata, selector, tolerations }: Constraints): string {
  if (machineID === undefined && metadata.size === 0 && selector === undefined && tolerations.length === 0) return '';
  const pairs = [...metadata].map(([key, values]) => [key, [...values].sort()] as const).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([machineID ?? null, pairs, selector ?? null, tolerations]);
}

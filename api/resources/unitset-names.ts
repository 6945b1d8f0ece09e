/** Names of UnitSets and of the Units that they make: `web` and `web.service` make `web@1.service`, `web.timer` makes `web@1.timer`. */
import { nearest } from './suggest.js';
import { templateTypes, unitNameProblem, unitTypes } from './unit-name.js';
import { maxReplicas } from './unitset.js';

function partsOf(set: string): { stem: string; type: string; isNamed: boolean } {
  const dot = set.lastIndexOf('.');
  const type = set.slice(dot + 1);
  const isNamed = dot > 0 && (unitTypes as readonly string[]).includes(type);
  return isNamed ? { stem: set.slice(0, dot), type, isNamed } : { stem: set, type: 'service', isNamed };
}

/** Name of the set's unit with this number, from 1. */
export function memberName(set: string, index: number): string {
  const { stem, type } = partsOf(set);
  return `${stem}@${index}.${type}`;
}

/** The number of the unit in the set; undefined when the set would never make a unit of this name. */
export function memberIndex(set: string, unit: string): number | undefined {
  const { stem, type } = partsOf(set);
  if (!unit.startsWith(`${stem}@`) || !unit.endsWith(`.${type}`)) return undefined;
  const number = unit.slice(stem.length + 1, -type.length - 1);
  return /^[1-9]\d{0,8}$/.test(number) ? Number(number) : undefined;
}

/** Names that a set can have which makes a unit of this name; none when the unit's name has no number. */
export function setNamesOf(unit: string): string[] {
  const match = /^([^@]+)@[1-9]\d{0,8}\.([a-z]+)$/.exec(unit);
  if (match === null) return [];
  const [, stem = '', type] = match;
  return type === 'service' ? [stem, `${stem}.service`] : [`${stem}.${type}`];
}

/** What is wrong with the name of a set; undefined when nothing is. */
export function setNameProblem(set: string): string | undefined {
  if (set.includes('@')) return `the name of a set has no "@": a set named web makes the units web@1.service, web@2.service and so on`;
  const { type, isNamed } = partsOf(set);
  if (isNamed && !(templateTypes as readonly string[]).includes(type)) {
    return `a set makes numbered units, and systemd has none of type ${type}; expected ${templateTypes.map((one) => `.${one}`).join(', ')} or no type`;
  }
  if (set.endsWith('.')) return 'the name of a set cannot end in "."';
  return unitNameProblem(memberName(set, maxReplicas));
}

/** What the name was probably meant to be, in a sentence; undefined when it is as clear as can be. */
export function setNameHint(set: string): string | undefined {
  const { isNamed } = partsOf(set);
  const dot = set.lastIndexOf('.');
  if (isNamed || dot <= 0) return undefined;
  const near = nearest(set.slice(dot + 1), templateTypes);
  return near === undefined
    ? undefined
    : `metadata.name: its units are named ${memberName(set, 1)} and so on; did you mean "${set.slice(0, dot)}.${near}"?`;
}

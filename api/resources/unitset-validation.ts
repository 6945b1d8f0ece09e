/** What the schema cannot say of a UnitSet: its name, and whether its template makes units that could exist. */
import type { FieldError } from './errors.js';
import { apiVersion, type FlotillaObject } from './meta.js';
import { validateMeta } from './meta-validation.js';
import { resolvePlacement } from './placement.js';
import type { Unit, UnitSpec } from './unit.js';
import { unitText } from './unit-text.js';
import { unitWarnings, validateUnit } from './unit-validation.js';
import { templateHashAnnotation, type UnitSet, unitSetLabel } from './unitset.js';
import { memberIndex, memberName, setNameHint, setNameProblem } from './unitset-names.js';

const templateField = 'spec.template';

/** Labels and annotations that the set itself gives to its units. */
const ownKeys = { labels: unitSetLabel, annotations: templateHashAnnotation } as const;

/** The set's first unit as its template describes it: whatever is wrong with that one is wrong with the template. */
function firstUnit({ metadata, spec }: UnitSet): Unit {
  const { template } = spec ?? {};
  return {
    apiVersion,
    kind: 'Unit',
    metadata: { name: memberName(metadata.name, 1), ...template?.metadata },
    spec: template?.spec ?? {},
  };
}

export function validateUnitSet(object: FlotillaObject): FieldError[] {
  const set = object as UnitSet;
  const errors = validateMeta(set.metadata);
  const nameProblem = setNameProblem(set.metadata.name);
  if (nameProblem !== undefined) return [...errors, { field: 'metadata.name', message: nameProblem }];

  const unit = firstUnit(set);
  const { spec = {} } = unit;
  for (const [map, key] of Object.entries(ownKeys) as ['labels' | 'annotations', string][]) {
    if (unit.metadata[map]?.[key] === undefined) continue;
    errors.push({
      field: `${templateField}.metadata.${map}[${JSON.stringify(key)}]`,
      message: 'is given to each unit by the set itself; leave it out',
      reason: 'FieldValueForbidden',
    });
  }
  if (spec.content === undefined && spec.sections === undefined) {
    const message = 'the unit file is missing; the units of a set take it from here, never from a template unit';
    return [...errors, { field: `${templateField}.spec.content`, message, reason: 'FieldValueRequired' }];
  }
  const found = validateUnit(unit);
  errors.push(...found.map((error) => ({ ...error, field: `${templateField}.${error.field}` })));
  // With a text that cannot be read there is nothing more to say about where it would run.
  if (found.length === 0) errors.push(...placementErrors(set, spec, unit));
  return errors;
}

function placementErrors({ metadata }: UnitSet, spec: UnitSpec, unit: Unit): FieldError[] {
  const { placement } = resolvePlacement({ name: unit.metadata.name, spec, text: unitText(unit) });
  const field = (name: 'global' | 'machineOf') =>
    spec.placement?.[name] === undefined
      ? `${templateField}.spec.${spec.sections === undefined ? 'content' : 'sections'}`
      : `${templateField}.spec.placement.${name}`;
  const errors: FieldError[] = [];
  if (placement.global) {
    const message =
      'a global unit runs on every machine already, whatever the number of replicas; apply it as a Unit, or leave it out here';
    errors.push({ field: field('global'), message });
  }
  const sibling = placement.machineOf.find((name) => memberIndex(metadata.name, name) !== undefined);
  if (sibling !== undefined) {
    errors.push({ field: field('machineOf'), message: `${sibling} is a unit of this set: it cannot be placed by where it runs itself` });
  }
  return errors;
}

export function unitSetWarnings(object: FlotillaObject): string[] {
  const set = object as UnitSet;
  const hint = setNameHint(set.metadata.name);
  return [...(hint === undefined ? [] : [hint]), ...unitWarnings(firstUnit(set)).map((warning) => `${templateField}.${warning}`)];
}

/** Walking a raw object beside its kind's schema: unknown fields with the nearest known one, and objects without them. */
import { z } from 'zod';
import type { FieldError } from './errors.js';
import { fieldPath } from './field-path.js';
import type { Kind } from './kinds.js';
import { plainValueProblem } from './plain-value.js';
import { nearest } from './suggest.js';

export interface UnknownField {
  /** As `spec.placement.conflict`. */
  readonly field: string;
  /** The known name beside it that it was probably meant to be. */
  readonly suggestion?: string;
}

type Path = readonly (string | number)[];

/** At most this many problems of one object are told. */
export const maxFieldErrors = 20;

/** The schema below optional, nullable and default wrappers. */
function inner(schema: z.core.$ZodType): z.core.$ZodType {
  let current = schema;
  while (
    current instanceof z.ZodOptional ||
    current instanceof z.ZodNullable ||
    current instanceof z.ZodDefault ||
    current instanceof z.ZodPrefault
  ) {
    current = current.unwrap();
  }
  return current;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Visits every field of `value` that an object schema does not have. Maps (labels, unit sections) and fields of any type
 * (managedFields' fieldsV1) have no unknown keys. A value of another shape than the schema's is left to the schema's own errors.
 */
function visitUnknown(schema: z.core.$ZodType, value: unknown, path: Path, visit: (path: Path, known: readonly string[]) => void): void {
  const type = inner(schema);
  if (type instanceof z.ZodObject && isObject(value)) {
    const known = Object.keys(type.shape);
    for (const [key, child] of Object.entries(value)) {
      const field = Object.hasOwn(type.shape, key) ? type.shape[key] : undefined;
      if (field === undefined) visit([...path, key], known);
      else visitUnknown(field, child, [...path, key], visit);
    }
  } else if (type instanceof z.ZodArray && Array.isArray(value)) {
    value.forEach((item, index) => {
      visitUnknown(type.element, item, [...path, index], visit);
    });
  } else if (type instanceof z.ZodRecord && isObject(value)) {
    for (const [key, child] of Object.entries(value)) visitUnknown(type.valueType, child, [...path, key], visit);
  } else if (type instanceof z.ZodUnion) {
    const option = type.options.find((candidate) => shapeFits(inner(candidate), value));
    if (option !== undefined) visitUnknown(option, value, path, visit);
  }
}

const shapeFits = (schema: z.core.$ZodType, value: unknown): boolean =>
  Array.isArray(value) ? schema instanceof z.ZodArray : isObject(value) && (schema instanceof z.ZodObject || schema instanceof z.ZodRecord);

/** Fields that the kind does not have, in the order of the object. */
export function unknownFields(kind: Kind, object: unknown): UnknownField[] {
  const found: UnknownField[] = [];
  visitUnknown(kind.schema, object, [], (path, known) => {
    const suggestion = nearest(String(path.at(-1)), known);
    found.push({ field: fieldPath(path), ...(suggestion === undefined ? {} : { suggestion }) });
  });
  return found;
}

/** `unknown field "spec.placment"; did you mean "placement"?` */
export const unknownFieldMessage = ({ field, suggestion }: UnknownField): string =>
  `unknown field ${JSON.stringify(field)}${suggestion === undefined ? '' : `; did you mean "${suggestion}"?`}`;

/** A deep copy of the object without the fields that the kind does not have. */
export function pruneUnknown<T>(kind: Kind, object: T): T {
  const copy = structuredClone(object);
  visitUnknown(kind.schema, object, [], (path) => {
    let parent: unknown = copy;
    for (const part of path.slice(0, -1)) parent = (parent as Record<string | number, unknown>)[part];
    delete (parent as Record<string, unknown>)[String(path.at(-1))];
  });
  return copy;
}

/**
 * Everything that the kind's schema finds wrong with the object, unknown fields first, in sentences with paths; at most `maxFieldErrors`.
 * Values are not quoted: one may be a secret.
 */
export function schemaErrors(kind: Kind, object: unknown): FieldError[] {
  const problem = plainValueProblem(object);
  if (problem !== undefined) return [{ field: fieldPath(problem.path), message: problem.message }];
  const unknown = unknownFields(kind, object).map(
    (field): FieldError => ({
      field: field.field,
      message: `unknown field${field.suggestion === undefined ? '' : `; did you mean "${field.suggestion}"?`}`,
      reason: 'FieldValueNotSupported',
    }),
  );
  const parsed = kind.schema.safeParse(object);
  const others = parsed.success
    ? []
    : parsed.error.issues.filter(({ code }) => code !== 'unrecognized_keys').map((issue) => issueError(issue, object));
  return [...unknown, ...others].slice(0, maxFieldErrors);
}

function issueError(issue: z.core.$ZodIssue, object: unknown): FieldError {
  const deeper = insideUnion(issue);
  if (deeper !== undefined) return issueError(deeper, object);
  const field = fieldPath(issue.path);
  const value = valueAt(object, issue.path);
  if (value === undefined && (issue.code === 'invalid_type' || issue.code === 'invalid_value' || issue.code === 'invalid_union')) {
    return { field, message: `is required; expected ${expectation(issue)}`, reason: 'FieldValueRequired' };
  }
  if (issue.code === 'invalid_type' || issue.code === 'invalid_union') {
    return {
      field,
      message: `expected ${expectation(issue)}, got ${typeName(value)}${quoteHint(issue, value)}`,
      reason: 'FieldValueTypeInvalid',
    };
  }
  if (issue.code === 'invalid_value') {
    const near = typeof value === 'string' ? nearest(value, issue.values.map(String)) : undefined;
    const hint = near === undefined || near === value ? '' : `; did you mean "${near}"?`;
    return { field, message: `expected ${expectation(issue)}${hint}`, reason: 'FieldValueNotSupported' };
  }
  if (issue.code === 'too_big' || issue.code === 'too_small') return { field, message: sizeMessage(issue) };
  if (issue.code === 'invalid_key') return { field, message: 'the key is too long' };
  return { field, message: issue.message };
}

/** Of a union whose one option got further into the value than the others: what it met there. */
function insideUnion(issue: z.core.$ZodIssue): z.core.$ZodIssue | undefined {
  if (issue.code !== 'invalid_union') return undefined;
  const inside = issue.errors.flat().find(({ path }) => path.length > 0);
  return inside === undefined ? undefined : { ...inside, path: [...issue.path, ...inside.path] };
}

function expectation(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') {
    const values = issue.values.map((value) => JSON.stringify(value));
    return values.length === 1 ? values[0]! : `one of ${values.join(', ')}`;
  }
  if (issue.code === 'invalid_union') {
    const kinds = issue.errors.flatMap((errors) =>
      errors.flatMap((error) => (error.code === 'invalid_type' ? [withArticle(error.expected)] : [])),
    );
    return [...new Set(kinds)].join(' or ') || 'another value';
  }
  return issue.code === 'invalid_type' ? withArticle(issue.expected) : 'another value';
}

const withArticle = (type: string): string => {
  const name = type === 'array' ? 'list' : type === 'record' || type === 'object' ? 'map' : type === 'int' ? 'whole number' : type;
  return name === 'null' || name === 'undefined' ? 'nothing' : `a ${name}`;
};

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return withArticle(typeof value);
}

/** What people trip over in YAML: `1` and `true` are no strings until they are quoted. */
const quoteHint = (issue: z.core.$ZodIssue, value: unknown): string =>
  issue.code === 'invalid_type' && issue.expected === 'string' && (typeof value === 'number' || typeof value === 'boolean')
    ? '; put it in quotes'
    : '';

function sizeMessage(issue: z.core.$ZodIssueTooBig | z.core.$ZodIssueTooSmall): string {
  const what = issue.origin === 'string' ? ' characters' : issue.origin === 'array' ? ' items' : '';
  if (issue.code === 'too_big')
    return `must have at most ${issue.maximum}${what}`.replace('have at most', what === '' ? 'be at most' : 'have at most');
  if (issue.origin === 'string' && issue.minimum === 1) return 'must not be empty';
  return `must ${what === '' ? 'be' : 'have'} at least ${issue.minimum}${what}`;
}

function valueAt(object: unknown, path: readonly PropertyKey[]): unknown {
  let current = object;
  for (const part of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, part)) return undefined;
    current = (current as Record<PropertyKey, unknown>)[part];
  }
  return current;
}

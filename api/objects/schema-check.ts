/** A kind's zod schema asked three questions: which fields it does not know, what is wrong with the others, and how they are owned. */
import type { z } from 'zod';
import type { FieldError } from '../resources/errors.js';
import { fieldPath } from '../resources/field-path.js';
import type { Kind } from '../resources/kinds.js';
import { didYouMean, nearest } from '../resources/suggest.js';
import { isObject, type JsonObject } from './json.js';
import { type FieldType, fieldTypeOf, ownableType } from './ownership/field-type.js';
import { duplicates } from './ownership/walk.js';

/** A field that the kind does not have. */
export interface UnknownField {
  /** As `spec.replicsa`. */
  readonly path: string;
  /** The known field beside it that was probably meant. */
  readonly nearest: string | undefined;
}

/** `unknown field "spec.replicsa" (did you mean "replicas"?)` */
export const describeUnknown = (field: UnknownField): string =>
  `unknown field "${field.path}"${field.nearest === undefined ? '' : ` (did you mean "${field.nearest}"?)`}`;

export class SchemaCheck {
  readonly ownable: FieldType;
  private readonly type: FieldType;

  constructor(private readonly kind: Kind) {
    this.type = fieldTypeOf(kind.schema, kind.listTypes);
    this.ownable = ownableType(this.type);
  }

  /**
   * The object without the fields that its kind does not know, which are told apart. A known field that is `null` is a field that is not
   * there: that is how YAML writes an empty one.
   */
  prune(object: JsonObject): { object: JsonObject; unknown: UnknownField[] } {
    const unknown: UnknownField[] = [];
    return { object: prune(this.type, object, [], unknown) as JsonObject, unknown };
  }

  /** Everything that is wrong with the object as a whole, in the order of its fields. */
  errors(object: object): FieldError[] {
    const parsed = this.kind.schema.safeParse(object);
    if (!parsed.success) return parsed.error.issues.flatMap((issue) => fieldErrors(issue, object));
    return this.duplicateErrors(object);
  }

  /** Items that a set or keyed list names twice. */
  duplicateErrors(object: object): FieldError[] {
    return [...duplicates(this.ownable, object)].map(({ path, item }) => ({
      field: path,
      message: `Duplicate value: ${JSON.stringify(item)}`,
      reason: 'FieldValueDuplicate',
    }));
  }
}

function prune(type: FieldType, value: unknown, path: readonly PropertyKey[], unknown: UnknownField[]): unknown {
  switch (type.shape) {
    case 'value':
      return value;
    case 'list':
      return Array.isArray(value) ? value.map((item: unknown, index) => prune(type.items, item, [...path, index], unknown)) : value;
    case 'map':
      if (!isObject(value)) return value;
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, prune(type.values, item, [...path, name], unknown)]));
    case 'struct': {
      if (!isObject(value)) return value;
      const known: JsonObject = {};
      for (const [name, item] of Object.entries(value)) {
        const field = type.fields.get(name);
        if (field !== undefined) {
          if (item !== null && item !== undefined) known[name] = prune(field, item, [...path, name], unknown);
        } else if (type.open) known[name] = item;
        else unknown.push({ path: fieldPath([...path, name]), nearest: nearest(name, type.fields.keys()) });
      }
      return known;
    }
  }
}

/** One zod issue in Kubernetes' words. Values are not repeated, except where one of a few words was expected: they may be secrets. */
function fieldErrors(issue: z.core.$ZodIssue, object: object): FieldError[] {
  const field = fieldPath(issue.path);
  const value = issue.path.reduce<unknown>(
    (at, step) => (typeof at === 'object' && at !== null ? (at as JsonObject)[step as string] : undefined),
    object,
  );
  if (value === undefined && issue.code !== 'unrecognized_keys')
    return [{ field, message: 'Required value', reason: 'FieldValueRequired' }];
  switch (issue.code) {
    case 'invalid_type':
      return [{ field, message: `Invalid type: expected ${issue.expected}, received ${typeName(value)}`, reason: 'FieldValueTypeInvalid' }];
    case 'invalid_value': {
      const shown = typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : typeName(value);
      const supported = issue.values.map((word) => JSON.stringify(word)).join(', ');
      const meant = typeof value === 'string' ? didYouMean(value, issue.values.map(String)) : '';
      return [{ field, message: `Unsupported value: ${shown}: supported values: ${supported}${meant}`, reason: 'FieldValueNotSupported' }];
    }
    case 'unrecognized_keys':
      return issue.keys.map((name) => ({ field: fieldPath([...issue.path, name]), message: 'Invalid value: unknown field' }));
    case 'invalid_union': {
      const expected = new Set(issue.errors.flat().flatMap((inner) => (inner.code === 'invalid_type' ? [inner.expected] : [])));
      return [{ field, message: `Invalid value: expected ${expected.size > 0 ? [...expected].join(' or ') : 'another form'}` }];
    }
    default:
      return [{ field, message: `Invalid value: ${issue.message.replace(/^(Too big|Too small|Invalid string|Invalid input): /, '')}` }];
  }
}

const typeName = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value);

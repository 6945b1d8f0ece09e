/**
 * From a stored value to the row that the rest of the program may trust. Lenient in one way only: fields that this version does not know
 * are kept, since a newer server may share the store during an upgrade. Anything else that is not as it should be is an error, and hurts
 * only that row (invariant 7).
 */
import { z } from 'zod';
import { AssignmentSpec, UnitState } from '../resources/assignment.js';
import { Event } from '../resources/event.js';
import type { ParsedKey } from '../resources/keys.js';
import { Presence } from '../resources/machine.js';
import { Condition, ObjectMeta } from '../resources/meta.js';
import { kindByPlural } from '../resources/registry.js';
import type { RowValue } from './ports.js';
import { SealedValue } from './secret-box.js';

export type KnownKey = Exclude<ParsedKey, { table: 'other' }>;

/** The value cannot be read. The message names fields and never quotes the value, which may be a secret. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable';
}

/** Throws `Unreadable`. What is returned is frozen through and through. */
export function decode(key: KnownKey, value: string): RowValue {
  if (key.table === 'content') return value;
  const decoded = deepFreeze(parseJson(value));
  check(schemaFor(key), decoded);
  const named = nameIn(key, decoded);
  if (named !== undefined && named !== keyName(key)) throw new Unreadable(`it is stored under another name than its own, ${named}`);
  return decoded as RowValue;
}

const storedEnvelope = z.object({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: ObjectMeta.required({ uid: true }),
  textHash: z.string().optional(),
});

const fragment = z.object({ observedGeneration: z.int().optional(), conditions: z.array(Condition).optional() });
const unitFragment = fragment.extend({
  machine: z.string().optional(),
  textHash: z.string().optional(),
  template: z.object({ uid: z.string(), generation: z.int() }).optional(),
  machineLost: z.string().optional(),
  desiredMachines: z.int().optional(),
  currentMachines: z.int().optional(),
  readyMachines: z.int().optional(),
});

const setFragment = fragment.extend({
  replicas: z.int().optional(),
  readyReplicas: z.int().optional(),
  updatedReplicas: z.int().optional(),
  selector: z.string().optional(),
});
const fragments: Readonly<Record<string, z.ZodType>> = { units: unitFragment, unitsets: setFragment };
const storedSecret = storedEnvelope.extend({ data: z.record(z.string(), SealedValue).optional() });

const stored = new Map<string, z.ZodType>();

function storedSchema(plural: string): z.ZodType {
  if (plural === 'secrets') return storedSecret;
  const known = stored.get(plural);
  if (known) return known;
  const spec = kindByPlural(plural)?.schema.shape.spec as z.ZodType | undefined;
  const schema = spec ? storedEnvelope.extend({ spec: spec.optional() }) : storedEnvelope;
  stored.set(plural, schema);
  return schema;
}

function schemaFor(key: Exclude<KnownKey, { table: 'content' }>): z.ZodType {
  switch (key.table) {
    case 'object':
      return storedSchema(key.plural);
    case 'condition':
      return fragments[key.plural] ?? fragment;
    case 'presence':
      return Presence;
    case 'assignment':
      return AssignmentSpec;
    case 'state':
      return UnitState;
    case 'event':
      return Event;
  }
}

function nameIn(key: KnownKey, decoded: unknown): string | undefined {
  if (key.table === 'object') return (decoded as { metadata: { name: string } }).metadata.name;
  if (key.table !== 'assignment') return undefined;
  const { machine, unit } = decoded as AssignmentSpec;
  return `${machine}/${unit}`;
}

function keyName(key: KnownKey): string | undefined {
  if (key.table === 'object') return key.name;
  return key.table === 'assignment' ? `${key.machine}/${key.unit}` : undefined;
}

function parseJson(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    // The parser's own message quotes the value.
    throw new Unreadable('it is not JSON');
  }
}

function check(schema: z.ZodType, value: unknown): void {
  const { error } = schema.safeParse(value);
  const wrong = error?.issues.filter(({ code }) => code !== 'unrecognized_keys') ?? [];
  if (wrong.length === 0) return;
  const sentences = wrong.slice(0, 5).map(({ path, message }) => `${path.join('.') || 'it'}: ${message}`);
  throw new Unreadable(sentences.join('; '));
}

/** Rows are shared by everyone in the process; whoever would change one in place gets a TypeError instead of a mystery. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}

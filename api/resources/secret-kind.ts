/** What the rest of the program asks about Secrets: columns and validation. */
import { z } from 'zod';
import type { FieldError } from './errors.js';
import type { Kind } from './kinds.js';
import { apiVersion, type FlotillaObject, group, ObjectMeta, version } from './meta.js';
import { validateMeta } from './meta-validation.js';
import { isBase64, isMask, type Secret, SecretFields, secretKeyPattern, secretLimits } from './secret.js';
import { humanAge } from './table.js';

const keysOf = ({ data, stringData }: Secret): string[] => [...new Set([...Object.keys(data ?? {}), ...Object.keys(stringData ?? {})])];

/** As Kubernetes has it: a step of a URL, and a word in the messages of whoever looks for it. */
const secretName = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;

function validate(object: FlotillaObject): FieldError[] {
  const secret = object as Secret;
  const errors = validateMeta(secret.metadata);
  if (!secretName.test(secret.metadata.name)) {
    const message = 'must be at most 253 lower-case letters, digits, "-" and ".", with a letter or digit at both ends';
    errors.push({ field: 'metadata.name', message });
  }
  const keys = keysOf(secret);
  if (keys.length > secretLimits.maxKeys) {
    errors.push({ field: 'data', message: `Too many: ${keys.length} keys, at most ${secretLimits.maxKeys}` });
  }
  for (const field of ['data', 'stringData'] as const) {
    for (const [key, value] of Object.entries(secret[field] ?? {})) {
      const at = `${field}[${key.slice(0, 64)}]`;
      if (!secretKeyPattern.test(key)) {
        errors.push({ field: at, message: 'Invalid value: a key is made of letters, digits, ".", "-" and "_", at most 253 of them' });
      }
      if (field === 'data' && !isMask(value) && !isBase64(value)) {
        errors.push({ field: at, message: 'Invalid value: must be base64 (stringData takes a value as it is)' });
      }
      if (Buffer.byteLength(value) > secretLimits.maxValueBytes) {
        errors.push({ field: at, message: `Too long: at most ${secretLimits.maxValueBytes} bytes` });
      }
    }
  }
  return errors;
}

export const secretKind: Kind = {
  group,
  version,
  kind: 'Secret',
  plural: 'secrets',
  singular: 'secret',
  shortNames: [],
  categories: ['flotilla'],
  description: 'Values that programs of the cluster need and nobody is shown.',
  schema: z.strictObject({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('Secret'),
    metadata: ObjectMeta,
    ...SecretFields,
  }),
  writable: true,
  listTypes: {},
  columns: [
    { name: 'Name', type: 'string', description: 'Name of the Secret.', priority: 0, cell: ({ metadata }) => metadata.name },
    {
      name: 'Type',
      type: 'string',
      description: 'What kind of secret it is.',
      priority: 0,
      cell: (object) => (object as Secret).type ?? '-',
    },
    {
      name: 'Data',
      type: 'integer',
      description: 'How many values it has.',
      priority: 0,
      cell: (object) => keysOf(object as Secret).length,
    },
    {
      name: 'Age',
      type: 'string',
      description: 'Time since it was created.',
      priority: 0,
      cell: ({ metadata }, now) => humanAge(metadata.creationTimestamp, now),
    },
  ],
  selectableFields: {},
  withDefaults: (object) => object,
  validate,
};

/** Tells an object's life to the ownership code, op by op, and shows who owns what in paths that read aloud. */
import assert from 'node:assert/strict';
import { z } from 'zod';
import { conflictError } from '../../../../api/objects/ownership/conflicts.js';
import { formatPath } from '../../../../api/objects/ownership/field-set.js';
import { fieldTypeOf, ownableType } from '../../../../api/objects/ownership/field-type.js';
import type { Owners } from '../../../../api/objects/ownership/managers.js';
import { applyConfiguration, trackUpdate } from '../../../../api/objects/ownership/ownership.js';
import type { StatusError } from '../../../../api/resources/errors.js';

const Port = z.strictObject({
  name: z.string(),
  port: z.int().optional(),
  options: z.array(z.string()).optional(),
  notes: z.record(z.string(), z.string()).optional(),
});
const Route = z.strictObject({ host: z.string(), path: z.string(), to: z.string().optional() });

/** A made-up kind with one field of every shape. */
export const Spec = z.strictObject({
  text: z.string().optional(),
  count: z.int().optional(),
  either: z.union([z.string(), z.array(z.string())]).optional(),
  words: z.array(z.string()).optional(),
  names: z.array(z.string()).optional(),
  ports: z.array(Port).optional(),
  routes: z.array(Route).optional(),
  nested: z
    .strictObject({ a: z.string().optional(), b: z.string().optional(), deeper: z.strictObject({ c: z.string().optional() }).optional() })
    .optional(),
  whole: z.strictObject({ x: z.int().optional(), y: z.int().optional() }).optional(),
  byKey: z.record(z.string(), z.string()).optional(),
  mapOfSets: z.record(z.string(), z.array(z.string())).optional(),
  mapOfMaps: z.record(z.string(), z.record(z.string(), z.string())).optional(),
});

export const schema = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.strictObject({
    name: z.string(),
    uid: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
    finalizers: z.array(z.string()).optional(),
  }),
  spec: Spec.optional(),
  status: z.strictObject({ seen: z.int() }).optional(),
});

export const type = ownableType(
  fieldTypeOf(schema, {
    'spec.names': { type: 'set' },
    'spec.ports': { type: 'map', keys: ['name'] },
    'spec.ports[].options': { type: 'set' },
    'spec.routes': { type: 'map', keys: ['host', 'path'] },
    'spec.mapOfSets.*': { type: 'set' },
    'spec.whole': { type: 'atomic' },
  }),
);

export interface Thing {
  readonly metadata?: {
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
    readonly finalizers?: string[];
  };
  readonly spec?: z.infer<typeof Spec>;
}

export type Op =
  | { readonly apply: string; readonly config: Thing; readonly force?: true; readonly conflict?: string }
  | { readonly update: string; readonly object: Thing }
  /** What is there without an owner, as after a reset. */
  | { readonly there: Thing };

/** A life in operations, and what is there and whose it is at its end. */
export interface Case {
  readonly name: string;
  readonly ops: readonly Op[];
  readonly object: Thing;
  readonly owned: Record<string, string[]>;
}

export class Story {
  object: Thing = {};
  owners: Owners = new Map();
  private seconds = 0;

  private writer(manager: string) {
    return {
      manager,
      apiVersion: 'flotilla.dev/v1',
      time: new Date(Date.UTC(2026, 0, 1, 0, 0, this.seconds++)).toISOString().replace('.000', ''),
    };
  }

  /** Returns the conflict error instead of throwing it: conflicts are part of the story. */
  apply(manager: string, config: Thing, { force = false } = {}): StatusError | undefined {
    const result = applyConfiguration(type, { live: this.object, config, owners: this.owners, writer: this.writer(manager), force });
    if ('conflicts' in result) return conflictError(result.conflicts);
    this.object = result.object;
    this.owners = result.owners;
    return undefined;
  }

  update(manager: string, object: Thing): void {
    this.owners = trackUpdate(type, { before: this.object, after: object, owners: this.owners, writer: this.writer(manager) });
    this.object = object;
  }

  /** `{ alice: ['.spec.text'], 'bob (update)': [...] }` */
  get owned(): Record<string, string[]> {
    return Object.fromEntries(
      [...this.owners.values()].map(({ manager, operation, fields }) => [
        operation === 'Update' ? `${manager} (update)` : manager,
        [...fields.paths()].map(formatPath),
      ]),
    );
  }
}

export function check({ ops, object, owned }: Case): void {
  const story = new Story();
  for (const op of ops) {
    if ('there' in op) story.object = op.there;
    else if ('update' in op) story.update(op.update, op.object);
    else assert.equal(story.apply(op.apply, op.config, { force: op.force ?? false })?.message, op.conflict);
  }
  assert.deepEqual(story.object, object);
  assert.deepEqual(story.owned, owned);
}

export const labels = (...names: string[]): Thing => ({ metadata: { labels: Object.fromEntries(names.map((name) => [name, 'x'])) } });
export const spec = (of: NonNullable<Thing['spec']>): Thing => ({ spec: of });

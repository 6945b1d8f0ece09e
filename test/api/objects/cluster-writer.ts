/** Writes rows as the door, the leader and the servers do, keeping the leader's rule of SEMANTICS 2; for tests of the cache. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { UnitFragment } from '../../../api/objects/unit-fragment.js';
import type { AssignmentSpec, UnitState } from '../../../api/resources/assignment.js';
import { keysUnder } from '../../../api/resources/keys.js';
import type { Operation, Store } from '../../../runtime/store/store.js';

export const keys = keysUnder();
export const at = '2026-01-01T00:00:00Z';
export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
export const machineA = 'aaaaaaaa000000000000000000000001';
export const machineB = 'bbbbbbbb000000000000000000000002';

export const put = (key: string, value: unknown): Operation => ({
  do: 'put',
  key,
  value: typeof value === 'string' ? value : JSON.stringify(value),
});
export const remove = (key: string): Operation => ({ do: 'delete', key });

/** Operations for a Unit and its text. */
export function unitRow(name: string, uid: string, generation: number, text: string): Operation[] {
  const metadata = { name, uid, generation, creationTimestamp: at };
  return [
    put(keys.content(sha256(text)), text),
    put(keys.object('units', name), {
      apiVersion: 'flotilla.dev/v1',
      kind: 'Unit',
      metadata,
      spec: { desiredState: 'launched' },
      textHash: sha256(text),
    }),
  ];
}

export const machineRow = (id: string): Operation =>
  put(keys.object('machines', id), {
    apiVersion: 'flotilla.dev/v1',
    kind: 'Machine',
    metadata: { name: id, uid: `uid-${id}`, generation: 1, creationTimestamp: at },
    spec: {},
  });

export const scheduledOn = (machine: string, generation: number): UnitFragment => ({
  observedGeneration: generation,
  machine,
  conditions: [
    {
      type: 'Scheduled',
      status: 'True',
      reason: 'Placed',
      message: `Placed on ${machine.slice(0, 8)}.`,
      lastTransitionTime: at,
      observedGeneration: generation,
    },
  ],
});

export const assignmentOf = (unit: string, machine: string, unitUid: string, generation: number, text: string): AssignmentSpec => ({
  unit,
  machine,
  unitUid,
  generation,
  textHash: sha256(text),
  wanted: 'launched',
  failover: 'atLeastOnce',
  assignedAt: at,
});

export const activeState = (unitUid: string, generation: number, text: string, more: Partial<UnitState> = {}): UnitState => ({
  unitUid,
  generation,
  textHash: sha256(text),
  runningHash: sha256(text),
  load: 'loaded',
  active: 'active',
  sub: 'running',
  result: 'success',
  type: 'simple',
  since: at,
  ...more,
});

/** One transaction, whatever was there before. Returns its revision. */
export async function write(store: Pick<Store, 'get' | 'commit'>, operations: readonly Operation[]): Promise<number> {
  const compares = await Promise.all(
    operations.map(async ({ key }) => ({ key, modRevision: (await store.get(key)).entry?.modRevision ?? 0 })),
  );
  const outcome = await store.commit({ compares, operations });
  assert.ok(outcome.ok);
  return outcome.revision;
}

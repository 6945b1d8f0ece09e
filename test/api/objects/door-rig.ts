/** A door over a store in memory and the real cache, and a second server beside it when a test wants one. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { openClusterCache } from '../../../api/objects/cache.js';
import { openObjectDoor } from '../../../api/objects/door.js';
import type { ClusterCache, ObjectDoor, WriteContext } from '../../../api/objects/ports.js';
import type { SecretBox } from '../../../api/objects/secret-box.js';
import { StatusError, type StatusReason } from '../../../api/resources/errors.js';
import { keysUnder } from '../../../api/resources/keys.js';
import type { FlotillaObject } from '../../../api/resources/meta.js';
import { kinds } from '../../../api/resources/registry.js';
import { systemClock } from '../../../runtime/clock.js';
import { silentLogger } from '../../../runtime/log.js';
import { MemoryStore } from '../../../runtime/store/memory-store.js';

export const keys = keysUnder();

export interface Server {
  readonly store: MemoryStore;
  readonly cache: ClusterCache;
  readonly door: ObjectDoor;
}

export async function openServer(t: TestContext, store = new MemoryStore(), secretBox?: SecretBox): Promise<Server> {
  const { cache, stop } = openClusterCache({ store, keys, clock: systemClock, log: silentLogger });
  t.after(async () => {
    stop();
    await store.close();
  });
  await cache.untilSynced();
  return { store, cache, door: openObjectDoor({ kinds, cache, store, keys, secretBox }) };
}

export const as = (manager: string, more: Partial<WriteContext> = {}): WriteContext => ({ manager, ...more });

export const content = (command = '/bin/sleep infinity'): string => `[Service]\nExecStart=${command}\n`;

export const unit = (name: string, spec: object = { content: content() }, metadata: object = {}): FlotillaObject => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Unit',
  metadata: { name, ...metadata },
  spec,
});

/** The StatusError that the promise must reject with. */
export async function refused(promise: Promise<unknown>, reason: StatusReason, message?: RegExp | string): Promise<StatusError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if (!('error' in outcome)) assert.fail(`expected ${reason}, but it succeeded: ${JSON.stringify(outcome.value)}`);
  const { error } = outcome;
  assert.ok(error instanceof StatusError, String((error as Error).stack));
  assert.equal(error.reason, reason, error.message);
  if (typeof message === 'string') assert.equal(error.message, message);
  else if (message) assert.match(error.message, message);
  return error;
}

/** Puts an assignment as the leader would. */
export async function assign({ store, cache }: Server, unitName: string, machine: string): Promise<void> {
  const row = cache.object('units', unitName)!;
  const key = keys.assignment(machine, unitName);
  const value = {
    unit: unitName,
    machine,
    unitUid: row.value.metadata.uid,
    generation: row.value.metadata.generation,
    textHash: row.value.textHash ?? '',
    wanted: 'launched',
    failover: 'atLeastOnce',
    assignedAt: '2026-01-01T00:00:00Z',
  };
  const outcome = await store.commit({
    compares: [
      { key, modRevision: 0 },
      { key: row.key, modRevision: row.modRevision },
    ],
    operations: [{ do: 'put', key, value: JSON.stringify(value) }],
  });
  assert.ok(outcome.ok);
  await cache.untilRevision(outcome.revision);
}

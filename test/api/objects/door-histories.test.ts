/**
 * Invariant 2 at the door: whatever several clients do through two servers at once, with answers lost on the way, nothing acknowledged is
 * lost and no write succeeds twice. The witness is a list that clients append to, which no repetition leaves as it was.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StatusError } from '../../../api/resources/errors.js';
import type { FlotillaObject } from '../../../api/resources/meta.js';
import { MemoryStore } from '../../../runtime/store/memory-store.js';
import { as, keys, openServer, type Server, unit } from './door-rig.js';

const sequences = 1_000;
const clients = 4;
const opsPerClient = 4;

/** Small, seeded, good enough to shuffle with. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface Account {
  /** Mark → uid of the object that an answer said it was written to. */
  readonly acknowledged: Map<string, string>;
  /** Marks whose answer was that nobody knows. */
  readonly unknown: Set<string>;
  readonly refused: Set<string>;
  /** Uids that an answer said are gone. */
  readonly gone: Set<string>;
  unexpected: unknown;
}

const marksOf = (object: FlotillaObject): string[] =>
  (object.spec as { sections: { Unit: { Documentation: string[] } } }).sections.Unit.Documentation;
const marked = (name: string, marks: readonly string[]) =>
  unit(name, { sections: { Unit: { Documentation: marks }, Service: { ExecStart: '/bin/true' } } });

async function play(seed: number, servers: readonly Server[]): Promise<void> {
  const random = randomFrom(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const account: Account = { acknowledged: new Map(), unknown: new Set(), refused: new Set(), gone: new Set(), unexpected: undefined };
  const names = [`s${seed}a.service`, `s${seed}b.service`];

  const write = async (mark: string, doing: Promise<{ object: FlotillaObject }>) => {
    try {
      const { object } = await doing;
      account.acknowledged.set(mark, object.metadata.uid!);
      assert.ok(marksOf(object).includes(mark), 'the answer shows what was written');
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      if (error.reason === 'Timeout') account.unknown.add(mark);
      else if (['NotFound', 'AlreadyExists', 'Conflict', 'Invalid'].includes(error.reason)) account.refused.add(mark);
      else throw error;
    }
  };
  const append = (mark: string) => ({
    type: 'json' as const,
    body: [{ op: 'add', path: '/spec/sections/Unit/Documentation/-', value: mark }],
  });

  const client = async (number: number) => {
    for (let op = 0; op < opsPerClient; op++) {
      const { door, cache, store } = pick(servers);
      const name = pick(names);
      const mark = `man:${number}-${op}`;
      const who = as(`client-${number}`);
      const dice = random();
      if (random() < 0.1) store.faults.loseAnswers++;
      if (dice < 0.2) await write(mark, door.create('units', marked(name, [mark]), who));
      else if (dice < 0.65) await write(mark, door.patch('units', name, append(mark), who));
      else if (dice < 0.85) {
        const read = cache.joined('units', name);
        if (read) await write(mark, door.update('units', name, { ...read, spec: marked(name, [...marksOf(read), mark]).spec }, who));
      } else {
        try {
          const { gone, object } = await door.remove('units', name, {}, who);
          if (gone) account.gone.add(object.metadata.uid);
        } catch (error) {
          if (!(error instanceof StatusError) || !['NotFound', 'Timeout', 'Conflict'].includes(error.reason)) throw error;
        }
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  for (const { store } of servers) store.faults.loseAnswers = 0;

  for (const name of names) {
    const { entry } = await servers[0]!.store.get(keys.object('units', name));
    if (!entry) continue;
    const object = JSON.parse(entry.value) as FlotillaObject;
    const { uid } = object.metadata;
    const marks = marksOf(object);
    const where = `seed ${seed}, ${name}: ${marks.join(' ')}`;
    assert.ok(!account.gone.has(uid!), `${where}: it was said to be gone`);
    assert.equal(new Set(marks).size, marks.length, `${where}: a write succeeded twice`);
    for (const [mark, at] of account.acknowledged)
      if (at === uid) assert.ok(marks.includes(mark), `${where}: ${mark} was acknowledged and is lost`);
    for (const mark of marks) {
      assert.ok(!account.refused.has(mark), `${where}: ${mark} was refused and is there`);
      assert.ok(account.unknown.has(mark) || account.acknowledged.get(mark) === uid, `${where}: nobody wrote ${mark} here`);
    }
  }
}

test(`invariant 2: ${sequences} histories of ${clients} clients on two servers`, async (t) => {
  const store = new MemoryStore();
  const servers = [await openServer(t, store), await openServer(t, store.peer())];
  for (let seed = 1; seed <= sequences; seed++) await play(seed, servers);
});

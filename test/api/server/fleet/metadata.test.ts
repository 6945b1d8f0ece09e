/** PATCH of `/machines`: what users say of machines, and that it stays when the machine registers again. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { registerMachine, removedLabels } from '../../../../api/server/agents/registration.js';
import { type FleetRig, startFleetRig } from './rig.js';

let rig: FleetRig;
let count = 0;
/** A machine of this test alone. */
let id: string;
before(async () => {
  rig = await startFleetRig();
});
after(() => rig.close());
beforeEach(() => {
  id = String(++count).padStart(32, '0');
});

const patch = (body: unknown, type?: string) => rig.call('PATCH', '/fleet/v1/machines', { body, ...(type && { type }) });
const set = (key: string, value: string, op = 'add') => ({ op, path: `/${id}/metadata/${key}`, value: { value } });
const remove = (key: string) => ({ op: 'remove', path: `/${id}/metadata/${key}` });
const labels = () => rig.cache.joined('machines', id)?.metadata.labels;
/** The agent's stream opens again, with the labels of its settings. */
const register = (own: Record<string, string>) => {
  const known = rig.cache.joined('machines', id);
  return registerMachine(rig.door, id, own, ['*'], known ? removedLabels(known) : []);
};

describe('what a user sets', () => {
  test('is metadata, and a label', async () => {
    await rig.machine(id, { address: '10.0.0.1' });
    const answer = await patch([set('az', 'z1'), set('disk.type', 'ssd', 'replace')]);
    assert.deepEqual([answer.status, answer.text], [204, '']);
    const { machines } = (await rig.fleet('GET', 'machines')).json as { machines: { id: string; metadata: object }[] };
    assert.deepEqual(machines.find((machine) => machine.id === id)?.metadata, { az: 'z1', 'disk.type': 'ssd' });
    assert.deepEqual(labels(), { az: 'z1', 'disk.type': 'ssd' });
  });

  test('wins over what the machine says of itself, whichever came first (SEMANTICS 23)', async () => {
    await register({ az: 'agent', disk: 'hdd' });
    await patch([set('az', 'user')]);
    await patch([set('rack', 'r1')]);
    await register({ az: 'agent', disk: 'ssd', rack: 'r9' });
    assert.deepEqual(labels(), { az: 'user', disk: 'ssd', rack: 'r1' });
  });

  test('also when the machine says the same, and then something else', async () => {
    await register({ az: 'z1' });
    await patch([set('az', 'z1')]);
    await register({ az: 'z2' });
    assert.deepEqual(labels(), { az: 'z1' });
  });

  test('is kept for a machine that has yet to join', async () => {
    assert.equal((await patch([set('az', 'early')])).status, 204);
    await register({ az: 'agent', disk: 'ssd' });
    assert.deepEqual(labels(), { az: 'early', disk: 'ssd' });
  });

  test('goes when it is removed, and the machine’s settings do not bring it back', async () => {
    await register({ az: 'agent', disk: 'ssd' });
    await patch([set('az', 'user'), set('rack', 'r1')]);
    await patch([remove('az'), remove('disk'), remove('rack'), remove('never-there')]);
    await register({ az: 'agent', disk: 'ssd' });
    assert.deepEqual(labels() ?? {}, {});
    // Until somebody sets it again.
    await patch([set('disk', 'nvme')]);
    await register({ az: 'agent', disk: 'ssd' });
    assert.deepEqual(labels(), { disk: 'nvme' });
  });

  test('in order: the last word on a key counts', async () => {
    await patch([set('az', 'z1'), set('az', 'z2', 'replace'), remove('disk'), set('disk', 'ssd'), set('rack', 'r1'), remove('rack')]);
    assert.deepEqual(labels(), { az: 'z2', disk: 'ssd' });
  });

  test('at the same time as others is not lost', async () => {
    await Promise.all(Array.from({ length: 8 }, (_, index) => patch([set(`key-${index}`, 'x')])));
    assert.equal(Object.keys(labels() ?? {}).length, 8);
  });

  test('leaves alone what kubectl set', async () => {
    await register({ az: 'agent' });
    const body = { metadata: { labels: { team: 'a' } } };
    await rig.call('PATCH', `/apis/flotilla.dev/v1/machines/${id}`, { body, type: 'application/merge-patch+json' });
    await patch([set('az', 'user')]);
    await patch([remove('az')]);
    assert.deepEqual(labels(), { team: 'a' });
  });

  test('needs no type, and nothing at all is nothing', async () => {
    assert.equal((await patch('[]', '')).status, 204);
    assert.equal((await patch([remove('az')], 'text/plain')).status, 204);
    assert.equal(labels(), undefined, 'no machine was made of it');
  });
});

describe('what cannot be taken is refused as a whole', () => {
  const path = () => `/${id}/metadata/az`;
  for (const { name, operation, message } of [
    { name: 'an unknown op', operation: () => ({ ...set('az', 'z'), op: 'move' }), message: 'invalid op: expect add, remove, or replace' },
    { name: 'no op', operation: () => ({ path: path() }), message: 'invalid op: expect add, remove, or replace' },
    { name: 'no path', operation: () => ({ op: 'add', value: { value: 'z' } }), message: 'machine metadata path invalid' },
    { name: 'a path elsewhere', operation: () => ({ ...set('az', 'z'), path: `/${id}/az` }), message: 'machine metadata path invalid' },
    { name: 'a key with a slash', operation: () => set('a/b', 'z'), message: 'machine metadata path invalid' },
    { name: 'a key with a space', operation: () => set('a b', 'z'), message: 'machine metadata path invalid' },
    { name: 'no value', operation: () => ({ op: 'add', path: path() }), message: 'invalid value: add and replace require a value' },
    { name: 'an empty value', operation: () => set('az', '', 'replace'), message: 'invalid value: add and replace require a value' },
    {
      name: 'a machine that cannot be',
      operation: () => ({ ...set('az', 'z'), path: '/m1/metadata/az' }),
      message: 'machine metadata path invalid: a machine id has 32 hexadecimal digits',
    },
    {
      name: 'a value that no list can show',
      operation: () => set('az', 'a,b'),
      message: 'invalid metadata "az": a value cannot contain ","',
    },
    {
      name: 'a key of JavaScript’s',
      operation: () => set('__proto__', 'z'),
      message: 'invalid metadata "__proto__": "__proto__" cannot be a key',
    },
  ]) {
    test(name, async () => {
      const { status, json } = await patch([set('ok', 'x'), operation()]);
      assert.deepEqual([status, json], [400, { error: { code: 400, message } }]);
      assert.equal(labels(), undefined);
    });
  }

  for (const { name, body } of [
    { name: 'no JSON', body: '[' },
    { name: 'no list', body: '{}' },
    { name: 'a value that is no object, as fleet’s documentation shows it', body: [{ op: 'add', path: '/x/metadata/az', value: 'z' }] },
  ]) {
    test(name, async () => {
      const { status, json } = await patch(body);
      assert.equal(status, 400);
      assert.match(json.error.message, /^unable to decode body: /);
    });
  }
});

test('SEMANTICS 26: a machine whose labels a GitSync keeps is left alone, and with it the whole list', async () => {
  const about = { manager: 'ann' };
  const sync = {
    apiVersion: 'flotilla.dev/v1',
    kind: 'GitSync',
    metadata: { name: 'hosts' },
    spec: { url: 'https://git.example/ops.git' },
  };
  await rig.door.create('gitsyncs', sync, about);
  await rig.machine(id, { address: '10.0.0.9', labels: { 'flotilla.dev/gitsync': 'hosts' } });
  const free = id.replace(/^0/, 'f');
  const { status, json } = await patch([{ ...set('az', 'z1'), path: `/${free}/metadata/az` }, set('az', 'z1')]);
  const message = `${id} is kept by GitSync "hosts": change it in its repository`;
  assert.deepEqual([status, json], [409, { error: { code: 409, message } }]);
  assert.equal(rig.cache.joined('machines', free), undefined);
});

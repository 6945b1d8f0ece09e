/** Pages, states and machines. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pageToken } from '../../../../api/server/fleet/pages.js';
import { keys, put, write } from '../../objects/cluster-writer.js';
import { dead, type FleetRig, hello, helloHash, startFleetRig } from './rig.js';

const machine = (digit: string) => `0000000${digit}${digit.repeat(24)}`;
const [m1, m2] = [machine('1'), machine('2')];

describe('pages', () => {
  const total = 230;
  const name = (index: number) => `u${String(index).padStart(3, '0')}.service`;
  let rig: FleetRig;
  before(async () => {
    rig = await startFleetRig();
    const content = '[Service]\nExecStart=/bin/true\n';
    const operations = Array.from({ length: total }, (_, index) =>
      put(keys.object('units', name(index)), {
        apiVersion: 'flotilla.dev/v1',
        kind: 'Unit',
        metadata: { name: name(index), uid: `uid-${index}`, generation: 1, creationTimestamp: '2026-01-01T00:00:00Z' },
        spec: { desiredState: 'inactive' },
        textHash: rig.textHash(content),
      }),
    );
    let revision = await write(rig.store, [put(keys.content(rig.textHash(content)), content)]);
    for (let at = 0; at < total; at += 50) revision = await write(rig.store, operations.slice(at, at + 50));
    await rig.cache.untilRevision(revision);
  });
  after(() => rig.close());

  const names = (json: { units: { name: string }[] }) => json.units.map((unit) => unit.name);

  test('hold a hundred each, sorted by name, and the last one names no other', async () => {
    const seen: string[] = [];
    const sizes: number[] = [];
    let token: string | undefined = '';
    while (token !== undefined) {
      const { json } = await rig.fleet('GET', `units${token && `?nextPageToken=${encodeURIComponent(token)}`}`);
      seen.push(...names(json));
      sizes.push(json.units.length);
      token = json.nextPageToken;
    }
    assert.deepEqual(sizes, [100, 100, 30]);
    assert.deepEqual(
      seen,
      Array.from({ length: total }, (_, index) => name(index)),
    );
  });

  test('a total that fills its pages has no empty page after it', async () => {
    for (let index = 200; index < total; index++) await rig.fleet('DELETE', `units/${name(index)}`);
    const { json } = await rig.fleet('GET', `units?nextPageToken=${pageToken(2)}`);
    assert.deepEqual([json.units.length, json.nextPageToken], [100, undefined]);
    assert.deepEqual((await rig.fleet('GET', `units?nextPageToken=${pageToken(3)}`)).json, {});
  });

  test('each unit on a page is looked up once, and none that is on another page', async () => {
    const looked: string[] = [];
    const counted = await startFleetRig({
      cache: new Proxy(rig.cache, {
        get(target, property) {
          const value: unknown = Reflect.get(target, property, target);
          if (property === 'object') {
            return (plural: string, unit: string) => {
              looked.push(unit);
              return target.object(plural, unit);
            };
          }
          return typeof value === 'function' ? value.bind(target) : value;
        },
      }),
    });
    try {
      assert.equal((await counted.fleet('GET', `units?nextPageToken=${pageToken(2)}`)).json.units.length, 100);
      assert.deepEqual(
        [...new Set(looked)],
        Array.from({ length: 100 }, (_, index) => name(100 + index)),
      );
    } finally {
      await counted.close();
    }
  });

  const token = (limit: number, page: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt16LE(limit, 0);
    bytes.writeUInt16LE(page, 2);
    return bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_');
  };
  for (const { name: what, query, status, message } of [
    { name: 'none', query: '', status: 200 },
    { name: 'an empty one', query: 'nextPageToken=', status: 400, message: /is not one/ },
    { name: 'the second page, as fleet spells it', query: 'nextPageToken=ZAACAA%3D%3D', status: 200 },
    { name: 'without padding', query: 'nextPageToken=ZAACAA', status: 200 },
    { name: 'beyond the end', query: `nextPageToken=${token(100, 65_535)}`, status: 200 },
    { name: 'another limit', query: `nextPageToken=${token(50, 2)}`, status: 400, message: /^token limit must be 100$/ },
    { name: 'page 0', query: `nextPageToken=${token(100, 0)}`, status: 400, message: /^token page must be greater than zero$/ },
    {
      name: 'twice',
      query: `nextPageToken=${token(100, 1)}&nextPageToken=${token(100, 2)}`,
      status: 400,
      message: /^too many values for page token$/,
    },
    { name: 'no base64', query: 'nextPageToken=%2A%2A%2A', status: 400, message: /is not one/ },
    { name: 'too short', query: 'nextPageToken=ZAAC', status: 400, message: /is not one/ },
    { name: 'too long', query: 'nextPageToken=ZAACAGQAAgA%3D', status: 400, message: /is not one/ },
  ]) {
    test(`a token: ${what}`, async () => {
      for (const list of ['units', 'state', 'machines']) {
        const { status: answered, json } = await rig.fleet('GET', `${list}?${query}`);
        assert.equal(answered, status, JSON.stringify(json));
        if (message) assert.match(json.error.message, message);
      }
    });
  }

  test('a token is base64 of two little-endian numbers', () => assert.equal(pageToken(2), 'ZAACAA=='));
});

describe('states', () => {
  let rig: FleetRig;
  before(async () => {
    rig = await startFleetRig();
    for (const [id, address] of [
      [m1, '10.0.0.1'],
      [m2, '10.0.0.2'],
    ] as const) {
      await rig.machine(id, { address });
    }
    for (const unit of ['a.service', 'g.service']) await rig.fleet('PUT', `units/${unit}`, { options: hello, desiredState: 'launched' });
    await rig.schedule('a.service', m1);
    await rig.schedule('g.service', m2, { global: true });
    await rig.schedule('g.service', m1, { global: true });
  });
  after(() => rig.close());

  const state = (name: string, machineID: string, more: object = {}) => ({
    hash: helloHash,
    machineID,
    name,
    systemdActiveState: 'active',
    systemdLoadState: 'loaded',
    systemdSubState: 'running',
    ...more,
  });

  test('nothing was reported: an empty page, and no state of the unit', async () => {
    assert.equal((await rig.fleet('GET', 'state')).text, '{}');
    const { status, json } = await rig.fleet('GET', 'state/a.service');
    assert.deepEqual([status, json], [404, { error: { code: 404, message: 'unit state does not exist' } }]);
  });

  test('one for each unit and machine, by unit and then by machine, a global unit on each of its machines', async () => {
    await rig.report('a.service', m1, dead);
    await rig.report('g.service', m2);
    await rig.report('g.service', m1);
    assert.deepEqual((await rig.fleet('GET', 'state')).json, {
      states: [
        state('a.service', m1, { systemdActiveState: 'inactive', systemdSubState: 'dead' }),
        state('g.service', m1),
        state('g.service', m2),
      ],
    });
  });

  for (const { query, expected } of [
    { query: `machineID=${m1}`, expected: [`a.service ${m1}`, `g.service ${m1}`] },
    { query: 'unitName=g.service', expected: [`g.service ${m1}`, `g.service ${m2}`] },
    { query: `unitName=g.service&machineID=${m2}`, expected: [`g.service ${m2}`] },
    { query: 'unitName=g', expected: [] },
    { query: `machineID=${m1.slice(0, 8)}`, expected: [] },
    { query: 'unitName=&machineID=', expected: [`a.service ${m1}`, `g.service ${m1}`, `g.service ${m2}`] },
  ]) {
    test(`only those with ${query}`, async () => {
      const { states = [] } = (await rig.fleet('GET', `state?${query}`)).json as { states?: { name: string; machineID: string }[] };
      assert.deepEqual(
        states.map(({ name, machineID }) => `${name} ${machineID}`),
        expected,
      );
    });
  }

  test('of one unit: the first that there is of a global one, and of another the one where it is now', async () => {
    assert.equal((await rig.fleet('GET', 'state/g.service')).json.machineID, m1);
    // It moves: the old machine has not let go of it.
    await rig.schedule('a.service', m2);
    await rig.report('a.service', m2);
    assert.deepEqual((await rig.fleet('GET', 'state/a.service')).json, state('a.service', m2));
  });

  test('of a unit that does not exist: 404', async () => assert.equal((await rig.fleet('GET', 'state/none.service')).status, 404));

  test('what is gone from the machine has none', async () => {
    await rig.report('a.service', m2, { ...dead, load: 'not-found', gone: true, textHash: '' });
    assert.equal((await rig.fleet('GET', 'state/a.service')).json.machineID, m1);
  });

  test('and the states of a machine that is not heard of are gone with it', async () => {
    await rig.silence(m1);
    const { states } = (await rig.fleet('GET', 'state')).json as { states: { machineID: string }[] };
    assert.deepEqual([...new Set(states.map(({ machineID }) => machineID))], [m2]);
    const { machines } = (await rig.fleet('GET', 'machines')).json as { machines: { id: string }[] };
    assert.deepEqual(
      machines.map(({ id }) => id),
      [m2],
    );
  });
});

test('machines: by id, with what they have of metadata and address', async () => {
  const rig = await startFleetRig();
  try {
    assert.equal((await rig.fleet('GET', 'machines')).text, '{}');
    await rig.machine(m2, { address: '10.0.0.2' });
    await rig.machine(m1, { address: '10.0.0.1', labels: { az: 'z1', disk: 'ssd' } });
    assert.deepEqual((await rig.fleet('GET', 'machines')).json, {
      machines: [
        { id: m1, metadata: { az: 'z1', disk: 'ssd' }, primaryIP: '10.0.0.1' },
        { id: m2, primaryIP: '10.0.0.2' },
      ],
    });
  } finally {
    await rig.close();
  }
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Case, check, labels, Story, spec, type Thing } from './story.js';

const cases: Record<string, readonly Case[]> = {
  'single values': [
    {
      name: 'what one applies, one owns',
      ops: [{ apply: 'alice', config: spec({ text: 'hi', count: 1 }) }],
      object: spec({ text: 'hi', count: 1 }),
      owned: { alice: ['.spec.count', '.spec.text'] },
    },
    {
      name: 'applying another value over the own one is no conflict',
      ops: [
        { apply: 'alice', config: spec({ count: 1 }) },
        { apply: 'alice', config: spec({ count: 2 }) },
      ],
      object: spec({ count: 2 }),
      owned: { alice: ['.spec.count'] },
    },
    {
      name: 'a field dropped by its only owner is gone',
      ops: [
        { apply: 'alice', config: spec({ text: 'hi', count: 1 }) },
        { apply: 'alice', config: spec({ text: 'hi' }) },
      ],
      object: spec({ text: 'hi' }),
      owned: { alice: ['.spec.text'] },
    },
    {
      name: 'a dropped field that another applier shares stays with that one',
      ops: [
        { apply: 'alice', config: spec({ text: 'hi', count: 1 }) },
        { apply: 'bob', config: spec({ count: 1 }) },
        { apply: 'alice', config: spec({ text: 'hi' }) },
      ],
      object: spec({ text: 'hi', count: 1 }),
      owned: { alice: ['.spec.text'], bob: ['.spec.count'] },
    },
    {
      name: 'a dropped field that an updater had taken over stays as the updater left it',
      ops: [
        { apply: 'alice', config: spec({ text: 'hi', count: 1 }) },
        { update: 'scaler', object: spec({ text: 'hi', count: 5 }) },
        { apply: 'alice', config: spec({ text: 'hi' }) },
      ],
      object: spec({ text: 'hi', count: 5 }),
      owned: { alice: ['.spec.text'], 'scaler (update)': ['.spec.count'] },
    },
    {
      name: 'another value for a field of another applier is refused, and nothing changes',
      ops: [
        { apply: 'alice', config: spec({ count: 1 }) },
        {
          apply: 'bob',
          config: spec({ count: 2, text: 'x' }),
          conflict: 'Apply failed with 1 conflict: conflict with "alice": .spec.count',
        },
      ],
      object: spec({ count: 1 }),
      owned: { alice: ['.spec.count'] },
    },
    {
      name: 'against an updater the conflict names the version',
      ops: [
        { update: 'kubectl-edit', object: spec({ count: 1 }) },
        {
          apply: 'bob',
          config: spec({ count: 2 }),
          conflict: 'Apply failed with 1 conflict: conflict with "kubectl-edit" using flotilla.dev/v1: .spec.count',
        },
      ],
      object: spec({ count: 1 }),
      owned: { 'kubectl-edit (update)': ['.spec', '.spec.count'] },
    },
    {
      name: 'several conflicts are a list, owner by owner',
      ops: [
        { apply: 'carol', config: spec({ text: 'hi' }) },
        { apply: 'alice', config: spec({ count: 1, nested: { a: '1' } }) },
        {
          apply: 'bob',
          config: spec({ count: 2, text: 'x', nested: { a: '2' } }),
          conflict:
            'Apply failed with 3 conflicts: conflicts with "alice":\n- .spec.count\n- .spec.nested.a\nconflicts with "carol":\n- .spec.text',
        },
      ],
      object: spec({ text: 'hi', count: 1, nested: { a: '1' } }),
      owned: { carol: ['.spec.text'], alice: ['.spec.count', '.spec.nested.a'] },
    },
    {
      name: 'with force the field changes hands',
      ops: [
        { apply: 'alice', config: spec({ count: 1, text: 'hi' }) },
        { apply: 'bob', config: spec({ count: 2 }), force: true },
      ],
      object: spec({ count: 2, text: 'hi' }),
      owned: { alice: ['.spec.text'], bob: ['.spec.count'] },
    },
    {
      name: 'the same value is no conflict: both own it',
      ops: [
        { update: 'kubectl-create', object: spec({ count: 1 }) },
        { apply: 'bob', config: spec({ count: 1 }) },
      ],
      object: spec({ count: 1 }),
      owned: { 'kubectl-create (update)': ['.spec', '.spec.count'], bob: ['.spec.count'] },
    },
    {
      name: 'a shared field cannot be changed by one of its owners alone',
      ops: [
        { apply: 'alice', config: spec({ count: 1 }) },
        { apply: 'bob', config: spec({ count: 1 }) },
        { apply: 'alice', config: spec({ count: 2 }), conflict: 'Apply failed with 1 conflict: conflict with "bob": .spec.count' },
      ],
      object: spec({ count: 1 }),
      owned: { alice: ['.spec.count'], bob: ['.spec.count'] },
    },
    {
      name: 'a manager with nothing left is not listed',
      ops: [
        { apply: 'alice', config: spec({ count: 1 }) },
        { apply: 'bob', config: spec({ count: 2 }), force: true },
      ],
      object: spec({ count: 2 }),
      owned: { bob: ['.spec.count'] },
    },
    {
      name: 'from updating to applying: apply the same, and the old owner stays beside until it is forced out',
      ops: [
        { update: 'ci', object: spec({ count: 1, text: 'hi' }) },
        { apply: 'ci', config: spec({ count: 1, text: 'hi' }) },
        {
          apply: 'ci',
          config: spec({ count: 2, text: 'hi' }),
          conflict: 'Apply failed with 1 conflict: conflict with "ci" using flotilla.dev/v1: .spec.count',
        },
        { apply: 'ci', config: spec({ count: 2, text: 'hi' }), force: true },
      ],
      object: spec({ count: 2, text: 'hi' }),
      owned: { 'ci (update)': ['.spec', '.spec.text'], ci: ['.spec.count', '.spec.text'] },
    },
    {
      name: 'something of several possible shapes is one value',
      ops: [
        { apply: 'alice', config: spec({ either: ['a', 'b'] }) },
        { apply: 'bob', config: spec({ either: ['a'] }), conflict: 'Apply failed with 1 conflict: conflict with "alice": .spec.either' },
      ],
      object: spec({ either: ['a', 'b'] }),
      owned: { alice: ['.spec.either'] },
    },
  ],
  'maps and structs': [
    {
      name: 'two managers share a map key by key',
      ops: [
        { apply: 'alice', config: labels('a') },
        { apply: 'bob', config: labels('b') },
      ],
      object: labels('a', 'b'),
      owned: { alice: ['.metadata.labels.a'], bob: ['.metadata.labels.b'] },
    },
    {
      name: 'a map whose last key is dropped goes too',
      ops: [
        { apply: 'alice', config: { ...labels('a'), ...spec({ text: 'x' }) } },
        { apply: 'alice', config: spec({ text: 'x' }) },
      ],
      object: spec({ text: 'x' }),
      owned: { alice: ['.spec.text'] },
    },
    {
      name: 'an empty map that is asked for stays',
      ops: [
        { apply: 'alice', config: spec({ byKey: { a: '1' } }) },
        { apply: 'alice', config: spec({ byKey: {} }) },
      ],
      object: spec({ byKey: {} }),
      owned: { alice: ['.spec.byKey'] },
    },
    {
      name: 'everything dropped, everything gone',
      ops: [
        { apply: 'alice', config: spec({ nested: { a: '1', deeper: { c: '2' } } }) },
        { apply: 'alice', config: {} },
      ],
      object: {},
      owned: {},
    },
    {
      name: 'a dropped struct keeps what an updater put into it',
      ops: [
        { apply: 'alice', config: spec({ nested: { a: '1' } }) },
        { update: 'controller', object: spec({ nested: { a: '1', b: '2' } }) },
        { apply: 'alice', config: {} },
      ],
      object: spec({ nested: { b: '2' } }),
      owned: { 'controller (update)': ['.spec.nested.b'] },
    },
    {
      name: 'an applied empty struct owns the struct, not what is in it',
      ops: [
        { apply: 'alice', config: spec({ nested: { a: '1' } }) },
        { update: 'controller', object: spec({ nested: { a: '1', b: '2' } }) },
        { apply: 'alice', config: spec({ nested: {} }) },
      ],
      object: spec({ nested: { b: '2' } }),
      owned: { alice: ['.spec.nested'], 'controller (update)': ['.spec.nested.b'] },
    },
    {
      name: 'an updater took a field over: dropping it does not bring it back',
      ops: [
        { apply: 'alice', config: spec({ nested: { a: '1' } }) },
        { update: 'controller', object: spec({ nested: { a: '9', b: '2' } }) },
        { apply: 'alice', config: spec({ nested: {} }) },
      ],
      object: spec({ nested: { a: '9', b: '2' } }),
      owned: { alice: ['.spec.nested'], 'controller (update)': ['.spec.nested.a', '.spec.nested.b'] },
    },
    {
      name: 'maps of maps: a middle key that is dropped leaves the neighbour alone',
      ops: [
        { apply: 'alice', config: spec({ mapOfMaps: { a: { b: '1' }, c: { d: '2' } } }) },
        { apply: 'bob', config: spec({ mapOfMaps: { c: { e: '3' } } }) },
        { apply: 'alice', config: spec({ mapOfMaps: { a: { b: '1' } } }) },
      ],
      object: spec({ mapOfMaps: { a: { b: '1' }, c: { e: '3' } } }),
      owned: { alice: ['.spec.mapOfMaps.a', '.spec.mapOfMaps.a.b'], bob: ['.spec.mapOfMaps.c', '.spec.mapOfMaps.c.e'] },
    },
    {
      name: 'an atomic struct is one value: a part of it replaces the whole, and conflicts as the whole',
      ops: [
        { apply: 'alice', config: spec({ whole: { x: 1, y: 2 } }) },
        { apply: 'bob', config: spec({ whole: { x: 1 } }), conflict: 'Apply failed with 1 conflict: conflict with "alice": .spec.whole' },
        { apply: 'bob', config: spec({ whole: { x: 1 } }), force: true },
      ],
      object: spec({ whole: { x: 1 } }),
      owned: { bob: ['.spec.whole'] },
    },
  ],
  lists: [
    {
      name: 'an unnamed list is atomic: replaced as a whole',
      ops: [
        { apply: 'alice', config: spec({ words: ['a', 'b'] }) },
        { apply: 'alice', config: spec({ words: ['c'] }) },
      ],
      object: spec({ words: ['c'] }),
      owned: { alice: ['.spec.words'] },
    },
    {
      name: 'a set is owned item by item',
      ops: [
        { apply: 'alice', config: spec({ names: ['a', 'c'] }) },
        { update: 'controller', object: spec({ names: ['a', 'b', 'c', 'd'] }) },
        { apply: 'alice', config: spec({ names: ['a', 'b', 'c'] }) },
      ],
      object: spec({ names: ['a', 'b', 'c', 'd'] }),
      owned: {
        alice: ['.spec.names[="a"]', '.spec.names[="b"]', '.spec.names[="c"]'],
        'controller (update)': ['.spec.names[="b"]', '.spec.names[="d"]'],
      },
    },
    {
      name: 'an item dropped from a set goes, those of others stay',
      ops: [
        { apply: 'alice', config: spec({ names: ['a', 'b', 'c'] }) },
        { apply: 'bob', config: spec({ names: ['c', 'd'] }) },
        { apply: 'alice', config: spec({ names: ['a'] }) },
      ],
      object: spec({ names: ['a', 'c', 'd'] }),
      owned: { alice: ['.spec.names[="a"]'], bob: ['.spec.names[="c"]', '.spec.names[="d"]'] },
    },
    {
      name: 'order belongs to nobody: applying another order is no conflict',
      ops: [
        { apply: 'alice', config: spec({ names: ['a', 'b', 'c', 'd'] }) },
        { update: 'sorter', object: spec({ names: ['a', 'd', 'c', 'b'] }) },
        { apply: 'alice', config: spec({ names: ['a', 'b', 'c', 'd'] }) },
      ],
      object: spec({ names: ['a', 'b', 'c', 'd'] }),
      owned: { alice: ['.spec.names[="a"]', '.spec.names[="b"]', '.spec.names[="c"]', '.spec.names[="d"]'] },
    },
    {
      name: 'a keyed list is owned item by item, and field by field within',
      ops: [
        { apply: 'alice', config: spec({ ports: [{ name: 'http', port: 80 }] }) },
        { apply: 'bob', config: spec({ ports: [{ name: 'ssh', port: 22 }] }) },
        {
          apply: 'bob',
          config: spec({
            ports: [
              { name: 'ssh', port: 22 },
              { name: 'http', port: 81 },
            ],
          }),
          conflict: 'Apply failed with 1 conflict: conflict with "alice": .spec.ports[name="http"].port',
        },
      ],
      object: spec({
        ports: [
          { name: 'http', port: 80 },
          { name: 'ssh', port: 22 },
        ],
      }),
      owned: {
        alice: ['.spec.ports[name="http"]', '.spec.ports[name="http"].name', '.spec.ports[name="http"].port'],
        bob: ['.spec.ports[name="ssh"]', '.spec.ports[name="ssh"].name', '.spec.ports[name="ssh"].port'],
      },
    },
    {
      name: 'an item that two appliers name stays until both have dropped it',
      ops: [
        { apply: 'alice', config: spec({ ports: [{ name: 'http' }, { name: 'ssh', options: ['a'] }] }) },
        { apply: 'bob', config: spec({ ports: [{ name: 'ssh', options: ['b'] }] }) },
        { apply: 'alice', config: spec({ ports: [{ name: 'http' }] }) },
      ],
      object: spec({ ports: [{ name: 'http' }, { name: 'ssh', options: ['b'] }] }),
      owned: {
        alice: ['.spec.ports[name="http"]', '.spec.ports[name="http"].name'],
        bob: ['.spec.ports[name="ssh"]', '.spec.ports[name="ssh"].name', '.spec.ports[name="ssh"].options[="b"]'],
      },
    },
    {
      name: 'a dropped item takes along what an updater had added inside, since the item itself has no owner left',
      ops: [
        { apply: 'alice', config: spec({ ports: [{ name: 'http' }, { name: 'ssh', options: ['a'] }] }) },
        { update: 'controller', object: spec({ ports: [{ name: 'http' }, { name: 'ssh', options: ['a', 'b'] }] }) },
        { apply: 'alice', config: spec({ ports: [{ name: 'http' }] }) },
      ],
      object: spec({ ports: [{ name: 'http' }] }),
      owned: { alice: ['.spec.ports[name="http"]', '.spec.ports[name="http"].name'] },
    },
  ],
  'updates of all sorts': [
    {
      name: 'a create owns all that it made, containers included',
      ops: [{ update: 'kubectl-create', object: { ...labels('a'), ...spec({ names: ['x'], nested: { deeper: { c: '1' } } }) } }],
      object: { ...labels('a'), ...spec({ names: ['x'], nested: { deeper: { c: '1' } } }) },
      owned: {
        'kubectl-create (update)': [
          '.metadata',
          '.metadata.labels',
          '.metadata.labels.a',
          '.spec',
          '.spec.names',
          '.spec.names[="x"]',
          '.spec.nested',
          '.spec.nested.deeper',
          '.spec.nested.deeper.c',
        ],
      },
    },
    {
      name: 'an update takes over what it changes and nothing that it merely repeats',
      ops: [
        { apply: 'alice', config: spec({ text: 'hi', count: 1 }) },
        { update: 'scaler', object: spec({ text: 'hi', count: 2 }) },
      ],
      object: spec({ text: 'hi', count: 2 }),
      owned: { alice: ['.spec.text'], 'scaler (update)': ['.spec.count'] },
    },
    {
      name: 'what an update removes has no owner, and its former owner may bring it back',
      ops: [
        { apply: 'alice', config: { ...labels('a', 'b') } },
        { update: 'janitor', object: labels('a') },
        { apply: 'alice', config: labels('a', 'b') },
      ],
      object: labels('a', 'b'),
      owned: { alice: ['.metadata.labels.a', '.metadata.labels.b'] },
    },
    {
      name: 'an update that changes nothing owns nothing',
      ops: [
        { apply: 'alice', config: spec({ count: 1 }) },
        { update: 'busybody', object: spec({ count: 1 }) },
      ],
      object: spec({ count: 1 }),
      owned: { alice: ['.spec.count'] },
    },
  ],
};

for (const [chapter, stories] of Object.entries(cases)) {
  describe(`ownership: ${chapter}`, () => {
    for (const story of stories) test(story.name, () => check(story));
  });
}

describe('ownership: order of merged list items', () => {
  for (const [live, config, merged] of [
    ['a b c', 'd e f', 'a b c d e f'],
    ['c d e f', 'a c e', 'a c d e f'],
    ['a b c x y z', 'd e f x y z', 'a b c d e f x y z'],
    ['c a g f', 'c f a g', 'c f a g'],
    ['a b c d', 'd e f a', 'b c d e f a'],
    ['c d e f g h i j', '2 h 3 e 4 k l', 'c d f g 2 h i j 3 e 4 k l'],
    ['a b c d e f g h i j', '1 b 2 h 3 e 4 k l', 'a 1 b c d f g 2 h i j 3 e 4 k l'],
    ['b', 'a b c', 'a b c'],
    ['a b c', 'c b', 'a c b'],
    ['a b c', 'c a', 'b c a'],
    ['a b', '', 'a b'],
    ['', 'a b', 'a b'],
  ] as const) {
    test(`[${live}] with [${config}] laid over is [${merged}], for sets and for keyed lists`, () => {
      const items = (text: string) => text.split(' ').filter(Boolean);
      const story = new Story();
      story.update('live', spec({ names: items(live), ports: items(live).map((name) => ({ name, port: 1 })) }));
      assert.equal(story.apply('alice', spec({ names: items(config), ports: items(config).map((name) => ({ name })) })), undefined);
      assert.deepEqual(story.object.spec?.names, items(merged));
      assert.deepEqual(
        story.object.spec?.ports?.map(({ name }) => name),
        items(merged),
      );
      assert.ok(story.object.spec?.ports?.every(({ name, port }) => (items(live).includes(name) ? port === 1 : port === undefined)));
    });
  }
});

test('ownership: applying the same again keeps the time; a change of value moves it', () => {
  const story = new Story();
  const timeOf = () => [...story.owners.values()].map(({ time }) => time);
  story.apply('alice', spec({ count: 1 }));
  assert.deepEqual(timeOf(), ['2026-01-01T00:00:00Z']);
  const before = story.owners;
  story.apply('alice', spec({ count: 1 }));
  assert.deepEqual(story.owners, before);
  story.apply('alice', spec({ count: 2 }));
  assert.deepEqual(timeOf(), ['2026-01-01T00:00:02Z']);
});

test('ownership: a conflict names its fields as causes', () => {
  const story = new Story();
  story.apply('bob', spec({ ports: [{ name: 'http', port: 80 }] }));
  const error = story.apply('alice', spec({ ports: [{ name: 'http', port: 81 }] }));
  assert.equal(error?.reason, 'Conflict');
  assert.equal(error?.code, 409);
  assert.deepEqual(error?.details.causes, [
    { reason: 'FieldManagerConflict', message: 'conflict with "bob"', field: '.spec.ports[name="http"].port' },
  ]);
});

test('ownership: neither name, uid, version nor status ever has an owner', () => {
  const story = new Story();
  const whole = {
    apiVersion: 'flotilla.dev/v1',
    kind: 'Thing',
    metadata: { name: 'x', uid: 'u', labels: { a: 'b' } },
    status: { seen: 1 },
  };
  story.apply('alice', whole as Thing);
  assert.deepEqual(story.owned, { alice: ['.metadata.labels.a'] });
});

/** The families of lives that server-side apply is known to be hard in, one table each: who leaves, who stays, and what goes with them. */
import { describe, test } from 'node:test';
import { type Case, check, labels, spec } from './story.js';

const conflictWith = (who: string, path: string) => `Apply failed with 1 conflict: conflict with ${who}: ${path}`;
/** The paths of an item of the keyed list, and of what it has below. */
const port = (name: string, ...below: string[]) => {
  const item = `.spec.ports[name=${JSON.stringify(name)}]`;
  return [item, ...['.name', ...below].sort().map((path) => item + path)];
};

const families: Record<string, readonly Case[]> = {
  'what is nested in a keyed list, or in a map': [
    {
      name: 'another item in the set of an item',
      ops: [
        { apply: 'ops', config: spec({ ports: [{ name: 'dns', options: ['tcp', 'udp'] }] }) },
        { apply: 'ops', config: spec({ ports: [{ name: 'dns', options: ['quic', 'udp'] }] }) },
      ],
      object: spec({ ports: [{ name: 'dns', options: ['quic', 'udp'] }] }),
      owned: { ops: port('dns', '.options[="quic"]', '.options[="udp"]') },
    },
    {
      name: 'an item under a new key is another item: the old one goes with all that was in it',
      ops: [
        { apply: 'ops', config: spec({ ports: [{ name: 'dns', port: 53, options: ['tcp'] }] }) },
        { apply: 'ops', config: spec({ ports: [{ name: 'mdns', port: 5353 }] }) },
      ],
      object: spec({ ports: [{ name: 'mdns', port: 5353 }] }),
      owned: { ops: port('mdns', '.port') },
    },
    {
      name: 'another key in the map of an item, another value for a kept one',
      ops: [
        { apply: 'ops', config: spec({ ports: [{ name: 'dns', notes: { why: 'names', who: 'net' } }] }) },
        { apply: 'ops', config: spec({ ports: [{ name: 'dns', notes: { since: '2020', who: 'core' } }] }) },
      ],
      object: spec({ ports: [{ name: 'dns', notes: { since: '2020', who: 'core' } }] }),
      owned: { ops: port('dns', '.notes.since', '.notes.who') },
    },
    {
      name: 'with several keys an item is another one as soon as one of them differs',
      ops: [
        { apply: 'web', config: spec({ routes: [{ host: 'a', path: '/', to: 'one' }] }) },
        { apply: 'shop', config: spec({ routes: [{ path: '/shop', host: 'a', to: 'two' }] }) },
        {
          apply: 'shop',
          config: spec({ routes: [{ path: '/', host: 'a', to: 'two' }] }),
          conflict: conflictWith('"web"', '.spec.routes[host="a",path="/"].to'),
        },
        { apply: 'web', config: {} },
      ],
      object: spec({ routes: [{ path: '/shop', host: 'a', to: 'two' }] }),
      owned: {
        shop: ['', '.host', '.path', '.to'].map((below) => `.spec.routes[host="a",path="/shop"]${below}`),
      },
    },
    {
      name: 'a set in a map: an item goes, an item comes',
      ops: [
        { apply: 'ops', config: spec({ mapOfSets: { north: ['m1', 'm2'] } }) },
        { apply: 'ops', config: spec({ mapOfSets: { north: ['m0', 'm2'] } }) },
      ],
      object: spec({ mapOfSets: { north: ['m0', 'm2'] } }),
      owned: { ops: ['', '[="m0"]', '[="m2"]'].map((below) => `.spec.mapOfSets.north${below}`) },
    },
    {
      name: 'a set under a new key of a map leaves nothing under the old one',
      ops: [
        { apply: 'ops', config: spec({ mapOfSets: { north: ['m1', 'm2'] } }) },
        { apply: 'ops', config: spec({ mapOfSets: { south: ['m2'] } }) },
      ],
      object: spec({ mapOfSets: { south: ['m2'] } }),
      owned: { ops: ['.spec.mapOfSets.south', '.spec.mapOfSets.south[="m2"]'] },
    },
    {
      name: 'maps of maps: new keys on both levels',
      ops: [
        { apply: 'ops', config: spec({ mapOfMaps: { disk: { size: '1', kind: 'ssd' } } }) },
        { apply: 'ops', config: spec({ mapOfMaps: { disk: { size: '2' }, net: {} } }) },
      ],
      object: spec({ mapOfMaps: { disk: { size: '2' }, net: {} } }),
      owned: { ops: ['.spec.mapOfMaps.disk', '.spec.mapOfMaps.disk.size', '.spec.mapOfMaps.net'] },
    },
  ],

  'one value that becomes a container, and back': [
    {
      name: 'a word becomes a list: one value of several shapes is taken whole',
      ops: [
        { apply: 'ops', config: spec({ either: 'one' }) },
        { apply: 'ops', config: spec({ either: ['one', 'two'] }) },
      ],
      object: spec({ either: ['one', 'two'] }),
      owned: { ops: ['.spec.either'] },
    },
    {
      name: 'a list becomes a word, against somebody who wants the list',
      ops: [
        { update: 'editor', object: spec({ either: ['one'] }) },
        { apply: 'ops', config: spec({ either: 'one' }), conflict: conflictWith('"editor" using flotilla.dev/v1', '.spec.either') },
        { apply: 'ops', config: spec({ either: 'one' }), force: true },
      ],
      object: spec({ either: 'one' }),
      owned: { 'editor (update)': ['.spec'], ops: ['.spec.either'] },
    },
  ],

  'taken whole: atomic lists, structs, and who is above them': [
    {
      name: 'an atomic list with an item more is another value, and a conflict as a whole',
      ops: [
        { apply: 'ops', config: spec({ words: ['a'] }) },
        { apply: 'dev', config: spec({ words: ['a', 'b'] }), conflict: conflictWith('"ops"', '.spec.words') },
      ],
      object: spec({ words: ['a'] }),
      owned: { ops: ['.spec.words'] },
    },
    {
      name: 'order is part of the value of an atomic list',
      ops: [
        { apply: 'ops', config: spec({ words: ['a', 'b'] }) },
        { apply: 'dev', config: spec({ words: ['b', 'a'] }), conflict: conflictWith('"ops"', '.spec.words') },
      ],
      object: spec({ words: ['a', 'b'] }),
      owned: { ops: ['.spec.words'] },
    },
    {
      name: 'an update of a part of an atomic struct takes all of it',
      ops: [
        { apply: 'ops', config: spec({ whole: { x: 1, y: 1 } }) },
        { update: 'editor', object: spec({ whole: { x: 1, y: 2 } }) },
        {
          apply: 'ops',
          config: spec({ whole: { x: 1, y: 1 } }),
          conflict: conflictWith('"editor" using flotilla.dev/v1', '.spec.whole'),
        },
      ],
      object: spec({ whole: { x: 1, y: 2 } }),
      owned: { 'editor (update)': ['.spec.whole'] },
    },
    {
      name: 'two who agree on an atomic struct share it; the one who leaves does not take it away',
      ops: [
        { apply: 'ops', config: spec({ whole: { x: 1 } }) },
        { apply: 'dev', config: spec({ whole: { x: 1 } }) },
        { apply: 'ops', config: {} },
      ],
      object: spec({ whole: { x: 1 } }),
      owned: { dev: ['.spec.whole'] },
    },
    {
      name: 'whoever owns the empty struct above does not stand in the way of what is put into it',
      ops: [
        { apply: 'ops', config: spec({ nested: {} }) },
        { apply: 'dev', config: spec({ nested: { deeper: { c: '1' } } }) },
        { apply: 'ops', config: {} },
      ],
      object: spec({ nested: { deeper: { c: '1' } } }),
      owned: { dev: ['.spec.nested.deeper.c'] },
    },
    {
      name: 'whoever wants the struct above empty takes nothing out of it',
      ops: [
        { apply: 'dev', config: spec({ nested: { deeper: { c: '1' } } }) },
        { apply: 'ops', config: spec({ nested: {} }) },
      ],
      object: spec({ nested: { deeper: { c: '1' } } }),
      owned: { dev: ['.spec.nested.deeper.c'], ops: ['.spec.nested'] },
    },
    {
      name: 'a map key that somebody created by an update: what an applier puts below it stays when the key is shared',
      ops: [
        { update: 'editor', object: spec({ mapOfMaps: { disk: {} } }) },
        { apply: 'ops', config: spec({ mapOfMaps: { disk: { size: '1' } } }) },
        { apply: 'ops', config: spec({ mapOfMaps: { disk: {} } }) },
      ],
      object: spec({ mapOfMaps: { disk: {} } }),
      owned: { 'editor (update)': ['.spec', '.spec.mapOfMaps', '.spec.mapOfMaps.disk'], ops: ['.spec.mapOfMaps.disk'] },
    },
  ],

  'several appliers': [
    {
      name: 'one leaves: its items go, those of the other stay where they stood',
      ops: [
        { apply: 'ops', config: spec({ ports: [{ name: 'http' }, { name: 'ssh' }] }) },
        { apply: 'dev', config: spec({ ports: [{ name: 'debug' }] }) },
        { apply: 'ops', config: {} },
      ],
      object: spec({ ports: [{ name: 'debug' }] }),
      owned: { dev: port('debug') },
    },
    {
      name: 'both leave, one after the other: nothing is left',
      ops: [
        { apply: 'ops', config: spec({ ports: [{ name: 'http', port: 80 }], names: ['a'] }) },
        { apply: 'dev', config: spec({ ports: [{ name: 'http', port: 80 }], names: ['a', 'b'] }) },
        { apply: 'ops', config: {} },
        { apply: 'dev', config: {} },
      ],
      object: {},
      owned: {},
    },
    {
      name: 'an item that both name: each takes along only its own part of it',
      ops: [
        { apply: 'ops', config: spec({ ports: [{ name: 'http', port: 80, options: ['fast'] }] }) },
        { apply: 'dev', config: spec({ ports: [{ name: 'http', notes: { who: 'dev' } }] }) },
        { apply: 'ops', config: {} },
      ],
      object: spec({ ports: [{ name: 'http', notes: { who: 'dev' } }] }),
      owned: { dev: port('http', '.notes.who') },
    },
    {
      name: 'a shared item keeps what an updater put into it when one of the two leaves',
      ops: [
        { apply: 'ops', config: spec({ ports: [{ name: 'http', options: ['a'] }] }) },
        { apply: 'dev', config: spec({ ports: [{ name: 'http', options: ['b'] }] }) },
        { update: 'tuner', object: spec({ ports: [{ name: 'http', options: ['a', 'b', 'c'] }] }) },
        { apply: 'ops', config: {} },
      ],
      object: spec({ ports: [{ name: 'http', options: ['b', 'c'] }] }),
      owned: { dev: port('http', '.options[="b"]'), 'tuner (update)': ['.spec.ports[name="http"].options[="c"]'] },
    },
    {
      name: 'a map key goes with its children once its last applier leaves, whoever put them there',
      ops: [
        { apply: 'ops', config: spec({ mapOfMaps: { disk: {}, net: {} } }) },
        { apply: 'dev', config: spec({ mapOfMaps: { net: {} } }) },
        { update: 'tuner', object: spec({ mapOfMaps: { disk: { size: '1' }, net: { mtu: '9000' } } }) },
        { apply: 'ops', config: {} },
      ],
      object: spec({ mapOfMaps: { net: { mtu: '9000' } } }),
      owned: { dev: ['.spec.mapOfMaps.net'], 'tuner (update)': ['.spec.mapOfMaps.net.mtu'] },
    },
    {
      name: 'a struct of the schema stays for what anybody has in it',
      ops: [
        { apply: 'ops', config: spec({ nested: { a: '1', deeper: { c: '1' } } }) },
        { apply: 'dev', config: spec({ nested: { a: '1' } }) },
        { apply: 'ops', config: spec({ text: 'x' }) },
      ],
      object: spec({ nested: { a: '1' }, text: 'x' }),
      owned: { dev: ['.spec.nested.a'], ops: ['.spec.text'] },
    },
    {
      name: 'three share a value: two leave it, the third may then change it alone',
      ops: [
        { apply: 'a', config: spec({ count: 1 }) },
        { apply: 'b', config: spec({ count: 1 }) },
        { apply: 'c', config: spec({ count: 1 }) },
        { apply: 'a', config: {} },
        { apply: 'c', config: spec({ count: 2 }), conflict: conflictWith('"b"', '.spec.count') },
        { apply: 'b', config: {} },
        { apply: 'c', config: spec({ count: 2 }) },
      ],
      object: spec({ count: 2 }),
      owned: { c: ['.spec.count'] },
    },
    {
      name: 'force against two owners at once',
      ops: [
        { apply: 'a', config: spec({ count: 1, text: 'x' }) },
        { apply: 'b', config: spec({ count: 1 }) },
        { apply: 'c', config: spec({ count: 3 }), force: true },
      ],
      object: spec({ count: 3, text: 'x' }),
      owned: { a: ['.spec.text'], c: ['.spec.count'] },
    },
    {
      name: 'who was forced out of a value and applies nothing new loses nothing else, and does not take it along',
      ops: [
        { apply: 'a', config: spec({ count: 1, text: 'x' }) },
        { apply: 'b', config: spec({ count: 2 }), force: true },
        { apply: 'a', config: spec({ text: 'x' }) },
      ],
      object: spec({ count: 2, text: 'x' }),
      owned: { a: ['.spec.text'], b: ['.spec.count'] },
    },
  ],

  'apply after update, update after apply': [
    {
      name: 'an applier who drops what an updater had made first leaves it as it was',
      ops: [
        { update: 'editor', object: spec({ mapOfMaps: { disk: { size: '1' } } }) },
        { apply: 'ops', config: spec({ mapOfMaps: { disk: { size: '1' }, net: { mtu: '1500' } } }) },
        { apply: 'ops', config: spec({ mapOfMaps: { net: {} } }) },
      ],
      object: spec({ mapOfMaps: { disk: { size: '1' }, net: {} } }),
      owned: {
        'editor (update)': ['.spec', '.spec.mapOfMaps', '.spec.mapOfMaps.disk', '.spec.mapOfMaps.disk.size'],
        ops: ['.spec.mapOfMaps.net'],
      },
    },
    {
      name: 'an item that an updater adds to a set is no business of the applier',
      ops: [
        { apply: 'ops', config: spec({ names: ['a', 'c'] }) },
        { update: 'tuner', object: spec({ names: ['a', 'b', 'c', 'd'] }) },
        { apply: 'ops', config: spec({ names: ['a', 'z', 'c', 'y'] }) },
      ],
      object: spec({ names: ['a', 'b', 'z', 'c', 'd', 'y'] }),
      owned: {
        ops: ['.spec.names[="a"]', '.spec.names[="c"]', '.spec.names[="y"]', '.spec.names[="z"]'],
        'tuner (update)': ['.spec.names[="b"]', '.spec.names[="d"]'],
      },
    },
    {
      name: 'an item that an updater takes out comes back with the next apply',
      ops: [
        { apply: 'ops', config: spec({ ports: [{ name: 'http', port: 80 }, { name: 'ssh' }] }) },
        { update: 'tuner', object: spec({ ports: [{ name: 'ssh' }] }) },
        { apply: 'ops', config: spec({ ports: [{ name: 'http', port: 80 }, { name: 'ssh' }] }) },
      ],
      object: spec({ ports: [{ name: 'http', port: 80 }, { name: 'ssh' }] }),
      owned: { ops: [...port('http', '.port'), ...port('ssh')] },
    },
    {
      name: 'what an updater takes out, everybody lets go of',
      ops: [
        { apply: 'ops', config: spec({ names: ['a', 'b'] }) },
        { apply: 'dev', config: spec({ names: ['b'] }) },
        { update: 'tuner', object: spec({ names: ['a'] }) },
      ],
      object: spec({ names: ['a'] }),
      owned: { ops: ['.spec.names[="a"]'] },
    },
    {
      name: 'an update under the name of an applier is another owner',
      ops: [
        { apply: 'ops', config: spec({ count: 1, text: 'x' }) },
        { update: 'ops', object: spec({ count: 2, text: 'x' }) },
        {
          apply: 'ops',
          config: spec({ count: 1, text: 'x' }),
          conflict: conflictWith('"ops" using flotilla.dev/v1', '.spec.count'),
        },
      ],
      object: spec({ count: 2, text: 'x' }),
      owned: { ops: ['.spec.text'], 'ops (update)': ['.spec.count'] },
    },
    {
      name: 'an update that takes its own field back owns nothing of it',
      ops: [
        { apply: 'ops', config: spec({ text: 'x' }) },
        { update: 'tuner', object: spec({ text: 'x', count: 1 }) },
        { update: 'tuner', object: spec({ text: 'x' }) },
      ],
      object: spec({ text: 'x' }),
      owned: { ops: ['.spec.text'] },
    },
    {
      name: 'two updaters: the last one who changed it has it',
      ops: [
        { update: 'one', object: spec({ count: 1 }) },
        { update: 'two', object: spec({ count: 2 }) },
        { update: 'one', object: spec({ count: 2, text: 'x' }) },
      ],
      object: spec({ count: 2, text: 'x' }),
      owned: { 'one (update)': ['.spec', '.spec.text'], 'two (update)': ['.spec.count'] },
    },
    {
      name: 'an updater who empties a map and fills it again owns what is new',
      ops: [
        { apply: 'ops', config: labels('a', 'b') },
        { update: 'tuner', object: { metadata: { labels: {} } } },
        { update: 'tuner', object: labels('b', 'c') },
        { apply: 'ops', config: labels('a', 'b') },
      ],
      object: labels('b', 'c', 'a'),
      owned: { 'tuner (update)': ['.metadata.labels.b', '.metadata.labels.c'], ops: ['.metadata.labels.a', '.metadata.labels.b'] },
    },
  ],

  'empty and absent': [
    {
      name: "an empty map in place of a full one takes the keys out that were one's own",
      ops: [
        { apply: 'ops', config: spec({ byKey: { a: '1', b: '2' } }) },
        { update: 'tuner', object: spec({ byKey: { a: '1', b: '2', c: '3' } }) },
        { apply: 'ops', config: spec({ byKey: {} }) },
      ],
      object: spec({ byKey: { c: '3' } }),
      owned: { ops: ['.spec.byKey'], 'tuner (update)': ['.spec.byKey.c'] },
    },
    {
      name: 'an empty set that is asked for stays, and is owned',
      ops: [
        { apply: 'ops', config: spec({ names: ['a'] }) },
        { apply: 'ops', config: spec({ names: [] }) },
      ],
      object: spec({ names: [] }),
      owned: { ops: ['.spec.names'] },
    },
    {
      name: 'an empty set and somebody who fills it: both have what they said',
      ops: [
        { apply: 'ops', config: spec({ names: [] }) },
        { apply: 'dev', config: spec({ names: ['a'] }) },
        { apply: 'ops', config: {} },
        { apply: 'dev', config: {} },
      ],
      object: {},
      owned: {},
    },
    {
      name: 'an empty map for a map that is absent is a change; once more it is none',
      ops: [
        { apply: 'ops', config: spec({ byKey: {} }) },
        { apply: 'dev', config: spec({ byKey: {} }) },
      ],
      object: spec({ byKey: {} }),
      owned: { ops: ['.spec.byKey'], dev: ['.spec.byKey'] },
    },
    {
      name: 'an empty atomic list is a value like any other',
      ops: [
        { apply: 'ops', config: spec({ words: [] }) },
        { apply: 'dev', config: spec({ words: ['a'] }), conflict: conflictWith('"ops"', '.spec.words') },
      ],
      object: spec({ words: [] }),
      owned: { ops: ['.spec.words'] },
    },
    {
      name: 'an applied nothing on an object of others is nothing',
      ops: [
        { update: 'editor', object: spec({ count: 1 }) },
        { apply: 'ops', config: {} },
      ],
      object: spec({ count: 1 }),
      owned: { 'editor (update)': ['.spec', '.spec.count'] },
    },
  ],

  "applying what one has read of one's own": [
    {
      name: 'the part that one owns, applied again, changes nothing: what others made of the rest is left out',
      ops: [
        { apply: 'ops', config: spec({ names: ['a'], count: 1, text: 'x' }) },
        { update: 'tuner', object: spec({ names: ['a', 'b'], count: 2, text: 'x' }) },
        { apply: 'ops', config: spec({ names: ['a'], text: 'x' }) },
      ],
      object: spec({ names: ['a', 'b'], count: 2, text: 'x' }),
      owned: { ops: ['.spec.names[="a"]', '.spec.text'], 'tuner (update)': ['.spec.count', '.spec.names[="b"]'] },
    },
    {
      name: 'the whole object as read, applied by somebody new: then all of it has two owners',
      ops: [
        { apply: 'ops', config: spec({ names: ['a'] }) },
        { update: 'tuner', object: spec({ names: ['a'], count: 2 }) },
        { apply: 'backup', config: spec({ names: ['a'], count: 2 }) },
        { apply: 'ops', config: {} },
      ],
      object: spec({ names: ['a'], count: 2 }),
      owned: { 'tuner (update)': ['.spec.count'], backup: ['.spec.count', '.spec.names[="a"]'] },
    },
  ],

  'what nobody owns': [
    {
      name: 'a field without an owner may be changed by anybody',
      ops: [{ there: spec({ count: 1, text: 'x' }) }, { apply: 'ops', config: spec({ count: 2 }) }],
      object: spec({ count: 2, text: 'x' }),
      owned: { ops: ['.spec.count'] },
    },
    {
      name: 'what was there before anybody owned anything stays as long as somebody has something beside it',
      ops: [
        { there: spec({ text: 'x', nested: { a: '1' } }) },
        { apply: 'ops', config: spec({ count: 2, nested: { b: '2' } }) },
        { apply: 'ops', config: spec({ nested: { b: '2' } }) },
      ],
      object: spec({ text: 'x', nested: { a: '1', b: '2' } }),
      owned: { ops: ['.spec.nested.b'] },
    },
    {
      name: 'it goes with the struct that the last one leaves: which is why a first apply gives all of it to before-first-apply',
      ops: [{ there: spec({ text: 'x', count: 1 }) }, { apply: 'ops', config: spec({ text: 'x' }) }, { apply: 'ops', config: {} }],
      object: {},
      owned: {},
    },
  ],
};

for (const [family, cases] of Object.entries(families)) {
  describe(`server-side apply: ${family}`, () => {
    for (const story of cases) test(story.name, () => check(story));
  });
}

/** What must hold whatever is applied by whomever in whatever order. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { fieldsOf } from '../../../../api/objects/ownership/walk.js';
import { Story, type Thing, type } from './story.js';

const word = fc.constantFrom('a', 'b', 'c', 'd');
const number = fc.integer({ min: 0, max: 3 });
const optional = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined, freq: 2 });
const present = <T extends object>(value: T) => Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined));
const map = fc.dictionary(word, word, { maxKeys: 3, noNullPrototype: true });

const configuration: fc.Arbitrary<Thing> = fc
  .record({
    labels: optional(map),
    spec: optional(
      fc
        .record({
          text: optional(word),
          count: optional(number),
          words: optional(fc.array(word, { maxLength: 3 })),
          names: optional(fc.uniqueArray(word, { maxLength: 4 })),
          ports: optional(
            fc.uniqueArray(
              fc
                .record({ name: word, port: optional(number), options: optional(fc.uniqueArray(word, { maxLength: 2 })) })
                .map((port) => present(port) as { name: string }),
              { selector: ({ name }) => name, maxLength: 3 },
            ),
          ),
          nested: optional(fc.record({ a: optional(word), deeper: optional(fc.record({ c: optional(word) }).map(present)) }).map(present)),
          whole: optional(fc.record({ x: number })),
          byKey: optional(map),
          mapOfMaps: optional(fc.dictionary(word, map, { maxKeys: 2, noNullPrototype: true })),
        })
        .map(present),
    ),
  })
  .map(({ labels, spec }) => present({ metadata: labels && { labels }, spec }) as Thing);

const manager = fc.constantFrom('alice', 'bob', 'carol');
const op = fc.oneof(
  fc.record({ do: fc.constant('apply' as const), manager, config: configuration, force: fc.boolean() }),
  fc.record({ do: fc.constant('update' as const), manager, config: configuration }),
);
const anyLife = fc.array(op, { maxLength: 8 });

function live(ops: readonly (typeof op extends fc.Arbitrary<infer T> ? T : never)[]): Story {
  const story = new Story();
  for (const step of ops) {
    if (step.do === 'update') story.update(step.manager, step.config);
    else story.apply(step.manager, step.config, { force: step.force });
  }
  return story;
}

const keysOf = (story: Story, name: string) =>
  [...story.owners.values()].find(({ manager: who, operation }) => who === name && operation === 'Apply');

describe('ownership: properties', () => {
  test('an apply that went through is idempotent: object, owners and times', () =>
    fc.assert(
      fc.property(anyLife, manager, configuration, fc.boolean(), (ops, who, config, force) => {
        const story = live(ops);
        fc.pre(story.apply(who, config, { force }) === undefined);
        const { object, owners } = story;
        assert.equal(story.apply(who, config), undefined, 'without force, too');
        assert.deepEqual(story.object, object);
        assert.deepEqual(story.owners, owners);
      }),
      { numRuns: 500 },
    ));

  test('with force nothing is refused, and all that was asked for is there and owned', () =>
    fc.assert(
      fc.property(anyLife, manager, configuration, (ops, who, config) => {
        const story = live(ops);
        assert.equal(story.apply(who, config, { force: true }), undefined);
        const wanted = fieldsOf(type, config);
        const there = fieldsOf(type, story.object);
        // A container that was asked for empty may hold what others put there.
        for (const path of wanted.paths()) assert.ok(there.has(path) || hasBelow(there, path), path.join(' '));
        assert.ok(wanted.isEmpty ? keysOf(story, who) === undefined : keysOf(story, who)!.fields.equals(wanted));
      }),
      { numRuns: 500 },
    ));

  test('every owned field exists', () =>
    fc.assert(
      fc.property(anyLife, (ops) => {
        const story = live(ops);
        const there = fieldsOf(type, story.object);
        for (const { fields, manager: who, operation } of story.owners.values()) {
          for (const path of fields.paths()) {
            assert.ok(there.has(path) || hasBelow(there, path), `${who} (${operation}) owns ${path.join(' ')}, which is not there`);
          }
        }
      }),
      { numRuns: 500 },
    ));

  test('managers of different fields never meet', () =>
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(0, 1), configuration), { maxLength: 6 }), (applies) => {
        const story = new Story();
        const halves: Thing[] = [{}, {}];
        for (const [who, config] of applies) {
          // One keeps to labels and a map, the other to the rest.
          const { byKey, mapOfMaps, ...rest } = config.spec ?? {};
          const half = who === 0 ? { ...config, spec: present({ byKey, mapOfMaps }) } : { spec: rest };
          halves[who] = half as Thing;
          assert.equal(story.apply(`manager-${who}`, half as Thing), undefined);
        }
        const alone = halves.map((half) => {
          const own = new Story();
          own.apply('x', half);
          return own.object;
        });
        assert.deepEqual(normal(story.object), normal({ ...alone[0], spec: { ...alone[0]!.spec, ...alone[1]!.spec } }));
      }),
      { numRuns: 300 },
    ));

  test('a manager who applies nothing any more leaves nothing that was only its own', () =>
    fc.assert(
      fc.property(anyLife, manager, (ops, who) => {
        const story = live(ops);
        const mine = keysOf(story, who)?.fields;
        fc.pre(mine !== undefined);
        const others = [...story.owners.values()]
          .filter((owner) => owner.manager !== who || owner.operation !== 'Apply')
          .map(({ fields }) => fields);
        assert.equal(story.apply(who, {}), undefined, 'dropping is never a conflict');
        const there = fieldsOf(type, story.object);
        for (const path of mine.paths()) {
          const shared = others.some((fields) => fields.has(path) || hasBelow(fields, path));
          if (!shared) assert.ok(!there.has(path), path.join(' '));
        }
        assert.equal(keysOf(story, who), undefined);
      }),
      { numRuns: 500 },
    ));
});

function hasBelow(set: ReturnType<typeof fieldsOf>, path: readonly string[]): boolean {
  return path.length === 0 || !path.reduce((at, element) => at.child(element), set).isEmpty;
}

/** Without containers that are empty: who asked for those is another matter. */
function normal(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value)
    .map(([key, item]) => [key, normal(item)] as const)
    .filter(([, item]) => item !== undefined && !(typeof item === 'object' && item !== null && Object.keys(item).length === 0));
  return Object.fromEntries(entries);
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StatusError } from '../../../api/resources/errors.js';
import { cutPage, decodeContinue, encodeContinue, Snapshots } from '../../../api/server/paging.js';
import { ManualClock } from '../../rigs/manual-clock.js';
import { unitObject } from './objects.js';

const snapshotOf = (names: readonly string[]) =>
  [...new Set(names)].sort().map((name) => unitObject(name, 7, { odd: String(name.length % 2) }));
const namesOf = (objects: readonly { metadata: { name: string } }[]) => objects.map(({ metadata }) => metadata.name);

test('paging: whatever the page size and the selector, the pages together are the list, in order, nothing twice', () => {
  const isOdd = (object: { metadata: { labels?: Record<string, string> | undefined } }) => object.metadata.labels?.odd === '1';
  fc.assert(
    fc.property(
      fc.array(fc.string({ minLength: 1, maxLength: 6 })),
      fc.integer({ min: 1, max: 5 }),
      fc.boolean(),
      (names, limit, selected) => {
        const snapshot = snapshotOf(names);
        const matches = selected ? isOdd : undefined;
        const seen: string[] = [];
        let after: string | undefined;
        do {
          const page = cutPage(snapshot, after, limit, matches);
          assert.ok(page.objects.length <= limit);
          seen.push(...namesOf(page.objects));
          if (page.remaining !== undefined) assert.equal(page.remaining, snapshot.length - seen.length);
          after = page.after;
        } while (after !== undefined);
        assert.deepEqual(seen, namesOf(matches ? snapshot.filter(matches) : snapshot));
      },
    ),
  );
});

for (const selected of [false, true]) {
  test(`paging: objects of one name are not torn apart${selected ? ', with a selector' : ''}`, () => {
    const snapshot = ['a', 'b', 'b', 'b', 'c'].map((name) => unitObject(name, 7));
    const matches = selected ? () => true : undefined;
    const first = cutPage(snapshot, undefined, 2, matches);
    assert.deepEqual([namesOf(first.objects), first.after], [['a', 'b', 'b', 'b'], 'b']);
    const second = cutPage(snapshot, first.after, 2, matches);
    assert.deepEqual([namesOf(second.objects), second.after], [['c'], undefined]);
  });
}

test('paging: a page that ends the list exactly has no continue token', () => {
  const page = cutPage(snapshotOf(['a', 'b']), undefined, 2, undefined);
  assert.deepEqual([namesOf(page.objects), page.after], [['a', 'b'], undefined]);
});

test('paging: limit 0 means everything that is left', () => {
  assert.deepEqual(namesOf(cutPage(snapshotOf(['a', 'b', 'c']), 'a', 0, undefined).objects), ['b', 'c']);
});

test('continue tokens: read back as they were made, whatever the name', () => {
  fc.assert(
    fc.property(fc.string(), fc.option(fc.nat(), { nil: undefined }), (after, revision) => {
      assert.deepEqual(decodeContinue(encodeContinue({ after, revision })), { after, revision });
    }),
  );
});

for (const text of [
  'x',
  'bnVsbA',
  encodeContinue({ after: 'a', revision: 1 }).slice(3),
  Buffer.from('[1,"a","b"]').toString('base64url'),
  'W10',
]) {
  test(`continue tokens: 400 for ${text}`, () =>
    assert.throws(
      () => decodeContinue(text),
      (error) => error instanceof StatusError && error.code === 400,
    ));
}

const limits = { maxSnapshots: 2, snapshotTtlMs: 1000 };

test('snapshots: the one unused for longest goes first', () => {
  const snapshots = new Snapshots(new ManualClock(), limits);
  snapshots.keep('units', 1, []);
  snapshots.keep('units', 2, []);
  assert.ok(snapshots.get('units', 1));
  snapshots.keep('units', 3, []);
  assert.deepEqual(
    [1, 2, 3].map((revision) => snapshots.get('units', revision) !== undefined),
    [true, false, true],
  );
  assert.equal(snapshots.size, 2);
});

test('snapshots: kept for a while after each use, then gone', () => {
  const clock = new ManualClock();
  const snapshots = new Snapshots(clock, limits);
  snapshots.keep('units', 1, []);
  clock.advanceSync(900);
  assert.ok(snapshots.get('units', 1));
  clock.advanceSync(900);
  assert.ok(snapshots.get('units', 1));
  clock.advanceSync(1001);
  assert.equal(snapshots.get('units', 1), undefined);
});

test('snapshots: kinds do not mix', () => {
  const snapshots = new Snapshots(new ManualClock(), limits);
  snapshots.keep('units', 1, []);
  assert.equal(snapshots.get('machines', 1), undefined);
});

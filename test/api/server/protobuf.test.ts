import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StatusError } from '../../../api/resources/errors.js';
import { decodeKubernetesProtobuf } from '../../../api/server/protobuf.js';
import { seededRandom, seedOr } from '../../rigs/seeded-random.js';

/** A message written by hand: field number, then text, bytes, or a number. */
type Field = readonly [number: number, value: string | Buffer | number | bigint];

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  for (let left = BigInt.asUintN(64, value); ; left >>= 7n) {
    if (left < 0x80n) return Buffer.from([...bytes, Number(left)]);
    bytes.push(Number(left & 0x7fn) | 0x80);
  }
}

const message = (...fields: readonly Field[]): Buffer =>
  Buffer.concat(
    fields.map(([number, value]) => {
      if (typeof value === 'number' || typeof value === 'bigint') return Buffer.concat([varint(BigInt(number * 8)), varint(BigInt(value))]);
      const bytes = typeof value === 'string' ? Buffer.from(value) : value;
      return Buffer.concat([varint(BigInt(number * 8 + 2)), varint(BigInt(bytes.length)), bytes]);
    }),
  );

const wrapped = (apiVersion: string, kind: string, raw: Buffer): Buffer =>
  Buffer.concat([Buffer.from('k8s\0'), message([1, message([1, apiVersion], [2, kind])], [2, raw], [3, ''], [4, ''])]);

for (const { what, body, object } of [
  {
    what: 'may I',
    body: wrapped(
      'authorization.k8s.io/v1',
      'SelfSubjectAccessReview',
      message(
        [1, message([1, ''])],
        [2, message([1, message([2, 'create'], [3, 'flotilla.dev'], [4, '*'], [5, 'units'])])],
        [3, message([1, 0], [3, ''])],
      ),
    ),
    object: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      metadata: { name: '' },
      spec: { resourceAttributes: { verb: 'create', group: 'flotilla.dev', version: '*', resource: 'units' } },
    },
  },
  {
    what: 'a namespace, with labels, finalizers and no creation time',
    body: wrapped(
      'v1',
      'Namespace',
      message(
        [1, message([1, 'x'], [8, message()], [11, message([1, 'a'], [2, 'b'])], [11, message([1, 'c'])], [14, 'one'], [14, 'two'])],
        [2, message([1, 'kubernetes'])],
      ),
    ),
    object: {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'x', creationTimestamp: null, labels: { a: 'b', c: '' }, finalizers: ['one', 'two'] },
      spec: { finalizers: ['kubernetes'] },
    },
  },
  {
    what: 'how to delete',
    body: wrapped('v1', 'DeleteOptions', message([1, 30], [2, message([1, 'uid'])], [3, 1], [4, 'Background'], [5, 'All'])),
    object: {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      gracePeriodSeconds: 30,
      preconditions: { uid: 'uid' },
      orphanDependents: true,
      propagationPolicy: 'Background',
      dryRun: ['All'],
    },
  },
  {
    what: 'a number below zero, as Go writes it',
    body: wrapped('v1', 'DeleteOptions', message([1, -1n])),
    object: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: -1 },
  },
  {
    what: 'an eviction',
    body: wrapped('policy/v1', 'Eviction', message([1, message([1, 'pod'], [3, 'default'])], [2, message([1, 5])])),
    object: {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name: 'pod', namespace: 'default' },
      deleteOptions: { gracePeriodSeconds: 5 },
    },
  },
  {
    what: 'fields that no table names, of every type, are skipped',
    body: wrapped(
      'v1',
      'DeleteOptions',
      Buffer.concat([
        message([99, 'x'], [98, 7]),
        Buffer.from([0x61]),
        Buffer.alloc(8),
        Buffer.from([0x65]),
        Buffer.alloc(4),
        message([1, 3]),
      ]),
    ),
    object: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 3 },
  },
]) {
  test(`protobuf: ${what}`, () => assert.deepEqual(decodeKubernetesProtobuf(body), object));
}

const refusal = (bytes: Uint8Array): StatusError => {
  try {
    decodeKubernetesProtobuf(bytes);
  } catch (error) {
    if (error instanceof StatusError) return error;
    throw error;
  }
  throw new Error('it was read');
};

for (const { what, body, says } of [
  { what: 'nothing', body: Buffer.alloc(0), says: /does not begin/ },
  { what: 'JSON', body: Buffer.from('{"kind":"Namespace"}'), says: /does not begin/ },
  { what: 'a length beyond the end', body: Buffer.from('k8s\0\x0a\x7f'), says: /ends too early/ },
  { what: 'a number that does not end', body: Buffer.concat([Buffer.from('k8s\0'), Buffer.alloc(11, 0xff)]), says: /does not end/ },
  {
    what: 'a number where text belongs',
    body: wrapped('v1', 'DeleteOptions', message([4, 1])),
    says: /propagationPolicy should not be a number/,
  },
  {
    what: 'text where a number belongs',
    body: wrapped('v1', 'DeleteOptions', message([1, 'x'])),
    says: /gracePeriodSeconds should be a number/,
  },
  { what: 'a number too large', body: wrapped('v1', 'DeleteOptions', message([1, 2n ** 62n])), says: /larger than any number/ },
  { what: 'text that is no UTF-8', body: wrapped('v1', 'DeleteOptions', message([4, Buffer.from([0xff])])), says: /not UTF-8/ },
  {
    what: 'a key of JavaScript',
    body: wrapped('v1', 'Namespace', message([1, message([11, message([1, '__proto__'], [2, 'x'])])])),
    says: /__proto__/,
  },
  { what: 'groups, which are long gone', body: Buffer.from('k8s\0\x0b'), says: /not used any more/ },
]) {
  test(`protobuf: ${what} is a bad request that says so`, () => {
    const { reason, message } = refusal(body);
    assert.equal(reason, 'BadRequest');
    assert.match(message, says);
  });
}

test('protobuf: a kind that is not read is 415, and the answer says what to send', () => {
  const { code, message: said } = refusal(wrapped('apps/v1', 'Deployment', message()));
  assert.equal(code, 415);
  assert.match(said, /Deployment .*Namespace.*application\/json/);
});

test('protobuf: whatever is changed about a message, it is read or refused in a sentence, and nothing else happens', () => {
  const random = seededRandom(seedOr(7));
  const seeds = [
    wrapped('v1', 'Namespace', message([1, message([1, 'x'], [11, message([1, 'a'], [2, 'b'])])])),
    wrapped('policy/v1', 'Eviction', message([1, message([1, 'pod'])], [2, message([1, 5], [5, 'All'])])),
  ];
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(seeds[round % seeds.length]!);
    for (let change = 0; change <= random() * 4; change++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    try {
      decodeKubernetesProtobuf(bytes.subarray(0, Math.ceil(random() * bytes.length)));
    } catch (error) {
      assert.ok(error instanceof StatusError, `${bytes.toString('hex')}: ${String(error)}`);
      refused++;
    }
  }
  assert.ok(refused > 1_000, `${refused} refused`);
});

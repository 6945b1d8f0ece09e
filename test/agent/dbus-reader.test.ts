/** Messages as dbus-next writes them, read back; and what is no message at all. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import dbus from 'dbus-next';
import fc from 'fast-check';
import { type BusMessage, MessageReader, messageType, readMessages } from '../../agent/dbus-reader.js';

const { marshallMessage } = createRequire(import.meta.url)('dbus-next/lib/marshall-compat.js') as {
  marshallMessage(message: dbus.Message): [Buffer, unknown];
};

const signal = { type: dbus.MessageType.SIGNAL, path: '/org/example/Thing', interface: 'org.example.Thing', member: 'Changed', serial: 7 };
const bytesOf = (signature: string, body: unknown[], more: object = {}): Buffer =>
  marshallMessage(new dbus.Message({ ...signal, ...more, signature, body }))[0];
const parseMessage = (bytes: Buffer): BusMessage => new MessageReader().read(bytes)[0]!;
const variant = (signature: string, value: unknown) => new dbus.Variant(signature, value);

for (const { name, signature, body, read = body } of [
  { name: 'no arguments', signature: '', body: [] },
  { name: 'every number', signature: 'ynqiuxtd', body: [255, -2, 65_535, -3, 4_000_000_000, -5n, 0xffff_ffff_ffff_ffffn, 1.5] },
  { name: 'truth', signature: 'bb', body: [true, false] },
  { name: 'texts', signature: 'sog', body: ['Ünït ☃', '/a/b', 'a{sv}'] },
  { name: 'an empty text between numbers', signature: 'ysu', body: [1, '', 2] },
  { name: 'a struct', signature: '(s(uo)t)', body: [['a', [1, '/'], 2n]] },
  {
    name: 'arrays of structs',
    signature: 'a(ssb)u',
    body: [
      [
        ['a', 'b', true],
        ['', 'c', false],
      ],
      9,
    ],
  },
  { name: 'empty arrays before what is aligned otherwise', signature: 'yata(s)ay', body: [1, [], [], Buffer.alloc(0)] },
  { name: 'bytes', signature: 'yay', body: [1, Buffer.from([1, 2, 3])] },
  { name: 'arrays of arrays', signature: 'aas', body: [[['a'], [], ['b', 'c']]] },
  {
    name: 'variants, which are the values in them',
    signature: 'vv',
    body: [variant('s', 'x'), variant('a(uo)', [[1, '/x']])],
    read: ['x', [[1, '/x']]],
  },
  {
    name: 'a dictionary',
    signature: 'a{sv}s',
    body: [{ One: variant('u', 1), Two: variant('as', ['x']) }, 'after'],
    read: [
      new Map<string, unknown>([
        ['One', 1],
        ['Two', ['x']],
      ]),
      'after',
    ],
  },
]) {
  test(`a message with ${name} is read as it was written`, () => {
    const message = parseMessage(bytesOf(signature, body));
    assert.deepEqual(
      [message.type, message.serial, message.path, message.interface],
      [messageType.signal, 7, signal.path, signal.interface],
    );
    assert.equal(message.member, 'Changed');
    assert.deepEqual(message.body(), read);
    assert.deepEqual(message.body(), read, 'twice');
  });
}

test('an answer names the call that it answers, an error its name', () => {
  const error = { type: dbus.MessageType.ERROR, errorName: 'org.example.No', replySerial: 41, destination: ':1.2', sender: ':1.3' };
  const { type, errorName, replySerial, destination, sender } = parseMessage(bytesOf('s', ['no'], error));
  assert.deepEqual(
    { type, errorName, replySerial, destination, sender },
    { type: messageType.error, errorName: 'org.example.No', replySerial: 41, destination: ':1.2', sender: ':1.3' },
  );
});

/** Values of every kind that a property may have, to be passed over or read. */
const properties: Readonly<Record<string, dbus.Variant>> = {
  Byte: variant('y', 3),
  Flag: variant('b', true),
  Small: variant('q', 4),
  Count: variant('u', 5),
  Time: variant('t', 6n),
  Ratio: variant('d', 0.5),
  Text: variant('s', 'some'),
  Path: variant('o', '/p'),
  Signature: variant('g', 'as'),
  Job: variant('(uo)', [0, '/']),
  Names: variant('as', ['a', 'bc']),
  Conditions: variant('a(sbbsi)', [['c', true, false, 'p', 1]]),
  Times: variant('at', [1n, 2n]),
  Invocation: variant('ay', Buffer.from('0123456789abcdef')),
  Nested: variant('v', variant('s', 'deep')),
  Options: variant('a{ss}', { a: 'b' }),
};
const plain: Readonly<Record<string, unknown>> = {
  ...Object.fromEntries(Object.entries(properties).map(([name, { value }]) => [name, value])),
  Nested: 'deep',
  Options: new Map([['a', 'b']]),
};

test('of changed properties those that are asked for are read, wherever they stand among the others', () => {
  const names = Object.keys(properties);
  fc.assert(
    fc.property(fc.shuffledSubarray(names, { minLength: 1 }), fc.subarray(names), (there, wanted) => {
      const changed = Object.fromEntries(there.map((name) => [name, properties[name]]));
      const message = parseMessage(bytesOf('sa{sv}as', ['org.example.Thing', changed, ['Gone']]));
      const { from, values } = message.properties((of) => new Set(of === 'org.example.Thing' ? wanted : []));
      assert.equal(from, 'org.example.Thing');
      assert.deepEqual(
        new Map([...values].sort()),
        new Map(
          wanted
            .filter((name) => there.includes(name))
            .sort()
            .map((name) => [name, plain[name]]),
        ),
      );
    }),
  );
});

test('messages are found in the stream however it is cut', () => {
  const bodies = ['', 'x', 'long '.repeat(100), 'last'];
  const stream = Buffer.concat(bodies.map((text, index) => bytesOf('s', [text], { serial: index + 1 })));
  fc.assert(
    fc.property(fc.array(fc.nat(stream.length), { maxLength: 20 }), (cuts) => {
      const reader = new MessageReader();
      const edges = [0, ...cuts.sort((a, b) => a - b), stream.length];
      const read: BusMessage[] = [];
      for (const [index, edge] of edges.slice(1).entries()) read.push(...reader.read(stream.subarray(edges[index], edge)));
      assert.deepEqual(
        read.map((message) => [message.serial, ...message.body()]),
        bodies.map((text, index) => [index + 1, text]),
      );
    }),
  );
});

test('both byte orders are read', () => {
  const bytes = Buffer.from(
    // A signal of serial 258 with one uint32, from a machine that puts the highest byte first.
    '42040001 00000004 00000102 00000012 08016700 01750000 01016f00 00000001 2f000000 00000000 0a0b0c0d'.replaceAll(' ', ''),
    'hex',
  );
  const message = parseMessage(bytes);
  assert.deepEqual([message.serial, message.body()], [258, [0x0a0b0c0d]]);
});

test('what is no D-Bus ends the stream, and so does a message that is larger than any should be', async () => {
  const huge = bytesOf('s', ['x']);
  huge.writeUInt32LE(0x7000_0000, 4);
  for (const bytes of [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), huge]) {
    const stream = new PassThrough();
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve));
    readMessages(stream, () => assert.fail('nothing was said'));
    stream.write(bytes);
    assert.match((await failed).message, /D-Bus message/);
    assert.ok(stream.destroyed);
  }
});

test('a value that reaches beyond its message is an error of that message', () => {
  const bytes = bytesOf('s', ['text']);
  bytes.writeUInt32LE(4_000, bytes.length - 9);
  assert.throws(() => parseMessage(bytes).body(), /beyond its message/);
});

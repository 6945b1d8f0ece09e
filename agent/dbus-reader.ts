/**
 * D-Bus messages off the wire: cut out of the stream by their length, with their header read, and of their body no more than somebody asks
 * for. One start makes systemd send a dozen signals of forty properties each, of which five count: to skip a value costs a few
 * additions, to build it a tree of objects. Nothing here knows of systemd.
 */
import type { Readable } from 'node:stream';

export const messageType = { call: 1, answer: 2, error: 3, signal: 4 } as const;

/** Far above the answer about all units of a large machine; the specification allows 128 MiB. */
const maxMessageBytes = 64 * 1024 * 1024;
const fixedHeaderBytes = 16;

export interface BusMessage {
  /** One of `messageType`. */
  readonly type: number;
  readonly flags: number;
  readonly serial: number;
  readonly path: string | undefined;
  readonly interface: string | undefined;
  readonly member: string | undefined;
  readonly errorName: string | undefined;
  readonly replySerial: number | undefined;
  readonly destination: string | undefined;
  readonly sender: string | undefined;
  readonly signature: string;
  /** All arguments. 64-bit numbers are bigints, dictionaries Maps, byte arrays Buffers; a variant is the value in it. */
  body(): unknown[];
  /** Of a PropertiesChanged: the interface that the properties are of, and the values of those that are asked for. */
  properties(wanted: (from: string) => ReadonlySet<string>): { readonly from: string; readonly values: ReadonlyMap<string, unknown> };
}

/** Cuts messages out of a stream of bytes. */
export class MessageReader {
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Length of the message that begins here, once that much of it has come. */
  #needed: number | undefined;

  /** The messages that are complete with this chunk. Throws when what comes is not D-Bus: then the stream is of no use any more. */
  read(chunk: Buffer): BusMessage[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    // As long as a large message is not complete its pieces are only collected.
    if (this.#bytes < (this.#needed ?? fixedHeaderBytes)) return [];
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const messages: BusMessage[] = [];
    let at = 0;
    for (;;) {
      this.#needed = bytes.length - at < fixedHeaderBytes ? undefined : lengthOf(view, at);
      if (this.#needed === undefined || bytes.length - at < this.#needed) break;
      messages.push(new Message(bytes, view, at, at + this.#needed));
      at += this.#needed;
    }
    this.#chunks = at === bytes.length ? [] : [bytes.subarray(at)];
    this.#bytes = bytes.length - at;
    return messages;
  }
}

/** Gives each message to `receive` as it comes; a stream that brings something else is destroyed. */
export function readMessages(stream: Readable, receive: (message: BusMessage) => void): void {
  const reader = new MessageReader();
  stream.on('readable', () => {
    try {
      for (let chunk = stream.read() as Buffer | null; chunk !== null; chunk = stream.read() as Buffer | null) {
        for (const message of reader.read(chunk)) receive(message);
      }
    } catch (error) {
      stream.destroy(error as Error);
    }
  });
}

const little = 'l'.charCodeAt(0);
const big = 'B'.charCodeAt(0);

function lengthOf(view: DataView, at: number): number {
  const endian = view.getUint8(at);
  if (endian !== little && endian !== big) throw new Error('not a D-Bus message');
  const number = (offset: number) => view.getUint32(at + offset, endian === little);
  const length = aligned(fixedHeaderBytes + number(12), 8) + number(4);
  if (length > maxMessageBytes) throw new Error(`a D-Bus message of ${length} bytes`);
  return length;
}

class Message implements BusMessage {
  readonly type: number;
  readonly flags: number;
  readonly serial: number;
  path: string | undefined;
  interface: string | undefined;
  member: string | undefined;
  errorName: string | undefined;
  replySerial: number | undefined;
  destination: string | undefined;
  sender: string | undefined;
  signature = '';
  readonly #cursor: Cursor;
  readonly #bodyAt: number;

  constructor(bytes: Buffer, view: DataView, start: number, end: number) {
    const cursor = new Cursor(bytes, view, start, end, bytes[start] === little);
    this.type = bytes[start + 1] ?? 0;
    this.flags = bytes[start + 2] ?? 0;
    cursor.at = start + 8;
    this.serial = cursor.uint32();
    const endOfFields = start + fixedHeaderBytes + cursor.uint32();
    while (cursor.at < endOfFields) {
      cursor.align(8);
      this.#field(bytes[cursor.at++] ?? 0, cursor, cursor.signature());
    }
    cursor.at = endOfFields;
    cursor.align(8);
    this.#bodyAt = cursor.at;
    this.#cursor = cursor;
  }

  /** By its code in the specification. */
  #field(code: number, cursor: Cursor, type: string): void {
    if (code === 1) this.path = cursor.string();
    else if (code === 2) this.interface = cursor.string();
    else if (code === 3) this.member = cursor.string();
    else if (code === 4) this.errorName = cursor.string();
    else if (code === 5) this.replySerial = cursor.uint32();
    else if (code === 6) this.destination = cursor.string();
    else if (code === 7) this.sender = cursor.string();
    else if (code === 8) this.signature = cursor.signature();
    else cursor.skip(type);
  }

  body(): unknown[] {
    this.#cursor.at = this.#bodyAt;
    return typesOf(this.signature).map((type) => this.#cursor.value(type));
  }

  properties(wanted: (from: string) => ReadonlySet<string>): { from: string; values: Map<string, unknown> } {
    if (this.signature !== 'sa{sv}as') throw new Error(`properties with the signature ${this.signature}`);
    const cursor = this.#cursor;
    cursor.at = this.#bodyAt;
    const from = cursor.string();
    const names = wanted(from);
    const values = new Map<string, unknown>();
    const bytes = cursor.uint32();
    cursor.align(8);
    const end = cursor.at + bytes;
    while (cursor.at < end && values.size < names.size) {
      cursor.align(8);
      const name = cursor.string();
      const type = cursor.signature();
      if (names.has(name)) values.set(name, cursor.value(type));
      else cursor.skip(type);
    }
    return { from, values };
  }
}

/** Names, paths and signatures come again and again: a text that was made before costs less than a new one, and is no garbage. */
const known: string[] = Array.from({ length: 1_024 }, () => '');
const longestKnown = 100;

function text(bytes: Buffer, from: number, length: number): string {
  if (length > longestKnown) return bytes.toString('utf8', from, from + length);
  let hash = length;
  for (let at = from; at < from + length; at++) {
    const byte = bytes[at]!;
    if (byte >= 0x80) return bytes.toString('utf8', from, from + length);
    hash = (Math.imul(hash, 31) + byte) | 0;
  }
  const slot = (hash ^ (hash >>> 10)) & (known.length - 1);
  const candidate = known[slot]!;
  if (candidate.length === length) {
    let at = 0;
    while (at < length && candidate.charCodeAt(at) === bytes[from + at]) at++;
    if (at === length) return candidate;
  }
  const made = bytes.toString('latin1', from, from + length);
  known[slot] = made;
  return made;
}

const aligned = (at: number, to: number): number => Math.ceil(at / to) * to;

/** Type code → bytes of its value, of those that are always as long; they are aligned by their length. */
const fixed: Readonly<Record<string, number>> = { y: 1, n: 2, q: 2, b: 4, i: 4, u: 4, h: 4, x: 8, t: 8, d: 8 };

const alignmentOf = (type: string): number => fixed[type[0]!] ?? ('({'.includes(type[0]!) ? 8 : 'gv'.includes(type[0]!) ? 1 : 4);

/** Values one after another. Alignment counts from the beginning of the message. */
class Cursor {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #start: number;
  readonly #end: number;
  readonly #little: boolean;
  at: number;

  constructor(bytes: Buffer, view: DataView, start: number, end: number, isLittle: boolean) {
    this.#bytes = bytes;
    this.#view = view;
    this.#start = start;
    this.#end = end;
    this.#little = isLittle;
    this.at = start;
  }

  align(to: number): void {
    this.at = this.#start + ((this.at - this.#start + to - 1) & -to);
  }

  uint32(): number {
    this.align(4);
    const value = this.#view.getUint32(this.at, this.#little);
    this.at += 4;
    return value;
  }

  string(): string {
    return this.#text(this.uint32());
  }

  signature(): string {
    return this.#text(this.#view.getUint8(this.at++));
  }

  /** Every text is followed by a zero. */
  #text(length: number): string {
    const from = this.at;
    this.#pass(length + 1);
    return text(this.#bytes, from, length);
  }

  #pass(bytes: number): void {
    this.at += bytes;
    if (this.at > this.#end) throw new Error('a D-Bus value goes beyond its message');
  }

  /** Reads one value of a complete type. */
  value(type: string): unknown {
    const code = type[0]!;
    const size = fixed[code];
    if (size !== undefined) {
      this.align(size);
      const { at } = this;
      this.#pass(size);
      return this.#number(code, at);
    }
    switch (code) {
      case 's':
      case 'o':
        return this.string();
      case 'g':
        return this.signature();
      case 'v':
        return this.value(this.signature());
      case 'a':
        return this.#array(type.slice(1));
      case '(':
        this.align(8);
        return typesOf(type.slice(1, -1)).map((part) => this.value(part));
      default:
        throw new Error(`D-Bus has no type ${code}`);
    }
  }

  #number(code: string, at: number): number | bigint | boolean {
    const view = this.#view;
    const isLittle = this.#little;
    switch (code) {
      case 'y':
        return view.getUint8(at);
      case 'b':
        return view.getUint32(at, isLittle) !== 0;
      case 'n':
        return view.getInt16(at, isLittle);
      case 'q':
        return view.getUint16(at, isLittle);
      case 'i':
        return view.getInt32(at, isLittle);
      case 'x':
        return view.getBigInt64(at, isLittle);
      case 't':
        return view.getBigUint64(at, isLittle);
      case 'd':
        return view.getFloat64(at, isLittle);
      default:
        return view.getUint32(at, isLittle);
    }
  }

  #array(type: string): unknown {
    const length = this.uint32();
    this.align(alignmentOf(type));
    const from = this.at;
    const end = from + length;
    if (end > this.#end) throw new Error('a D-Bus array goes beyond its message');
    if (type === 'y') {
      this.at = end;
      return this.#bytes.subarray(from, end);
    }
    if (type[0] !== '{') {
      const values: unknown[] = [];
      while (this.at < end) values.push(this.value(type));
      return values;
    }
    const entries = new Map<unknown, unknown>();
    const [key, value] = typesOf(type.slice(1, -1)) as [string, string];
    while (this.at < end) {
      this.align(8);
      entries.set(this.value(key), this.value(value));
    }
    return entries;
  }

  /** Passes over one value of a complete type. */
  skip(type: string): void {
    const code = type[0]!;
    const size = fixed[code];
    if (size !== undefined) {
      this.align(size);
      this.#pass(size);
    } else if (code === 's' || code === 'o') this.#pass(this.uint32() + 1);
    else if (code === 'g') this.#pass(this.#view.getUint8(this.at) + 2);
    else if (code === 'v') this.skip(this.signature());
    else if (code === 'a') {
      const length = this.uint32();
      this.align(alignmentOf(type.slice(1)));
      this.#pass(length);
    } else if (code === '(') {
      this.align(8);
      for (const part of typesOf(type.slice(1, -1))) this.skip(part);
    } else throw new Error(`D-Bus has no type ${code}`);
  }
}

/** The complete types that a signature is made of. */
function typesOf(signature: string): string[] {
  const types: string[] = [];
  for (let at = 0; at < signature.length; ) {
    const end = endOfType(signature, at);
    types.push(signature.slice(at, end));
    at = end;
  }
  return types;
}

function endOfType(signature: string, from: number): number {
  let at = from;
  while (signature[at] === 'a') at++;
  const closing = signature[at] === '(' ? ')' : signature[at] === '{' ? '}' : undefined;
  at++;
  if (closing === undefined) return at;
  while (at < signature.length && signature[at] !== closing) at = endOfType(signature, at);
  return at + 1;
}

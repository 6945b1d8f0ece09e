/**
 * The OpenAPI v2 document in protobuf, the only form in which kubectl and Argo CD read it. Messages and field numbers are those of
 * gnostic's `openapi.v2.Document`, as far as our documents go; a word that has no place in them is an error, never left out in silence.
 */
import type { Swagger } from './openapi-v2.js';

/** A JSON value as a field: tag and content. */
type Field = (value: unknown) => Uint8Array;

interface Message {
  readonly name: string;
  /** By the name that the value has in JSON. */
  readonly fields: Readonly<Record<string, Field>>;
  /** Number of the field that holds everything whose name begins with `x-`. */
  readonly extensions?: number;
}

const varintType = 0;
const doubleType = 1;
const bytesType = 2;

function varint(value: number): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`${value} cannot be written as a varint`);
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Uint8Array.of(...bytes, rest);
}

const tag = (number: number, wireType: number): Uint8Array => varint(number * 8 + wireType);
const delimited = (number: number, content: Uint8Array): Uint8Array =>
  Buffer.concat([tag(number, bytesType), varint(content.length), content]);

const text =
  (number: number): Field =>
  (value) =>
    delimited(number, Buffer.from(String(value)));
const flag =
  (number: number): Field =>
  (value) =>
    Buffer.concat([tag(number, varintType), varint(value === true ? 1 : 0)]);
const whole =
  (number: number): Field =>
  (value) =>
    Buffer.concat([tag(number, varintType), varint(Number(value))]);
const double =
  (number: number): Field =>
  (value) => {
    const content = Buffer.alloc(8);
    content.writeDoubleLE(Number(value));
    return Buffer.concat([tag(number, doubleType), content]);
  };
const each =
  (field: Field): Field =>
  (value) =>
    Buffer.concat((value as readonly unknown[]).map(field));
const message =
  (number: number, of: Message): Field =>
  (value) =>
    delimited(number, encode(of, value as object));
/** A value that is one of several messages, or wrapped in one: `inner` writes it into a message of its own. */
const within =
  (number: number, inner: Field): Field =>
  (value) =>
    delimited(number, inner(value));
/** A map as its entries, each a message of name and value. */
const entries =
  (number: number, value: Field): Field =>
  (map) =>
    Buffer.concat(Object.entries(map as object).map(([name, item]) => delimited(number, Buffer.concat([text(1)(name), value(item)]))));
/** Any value, as YAML; JSON is YAML too. */
const any = (number: number): Field => within(number, (value) => text(2)(JSON.stringify(value)));

function encode({ name, fields, extensions }: Message, value: object): Uint8Array {
  return Buffer.concat(
    Object.entries(value).map(([key, item]) => {
      if (extensions !== undefined && key.startsWith('x-')) return entries(extensions, any(2))({ [key]: item });
      const field = Object.hasOwn(fields, key) ? fields[key] : undefined;
      if (field === undefined) throw new TypeError(`OpenAPI v2: a ${name} has no "${key}"`);
      return field(item);
    }),
  );
}

/** Schemas hold schemas: their table is looked up when there is one to write. */
function aSchema(number: number): Field {
  return (value) => delimited(number, encode(schema, value as object));
}

const schema: Message = {
  name: 'Schema',
  fields: {
    $ref: text(1),
    format: text(2),
    description: text(4),
    default: any(5),
    maximum: double(7),
    minimum: double(9),
    maxLength: whole(11),
    minLength: whole(12),
    pattern: text(13),
    maxItems: whole(14),
    minItems: whole(15),
    maxProperties: whole(17),
    minProperties: whole(18),
    required: each(text(19)),
    enum: each(any(20)),
    additionalProperties: within(21, (value) => (typeof value === 'boolean' ? flag(2)(value) : aSchema(1)(value))),
    type: within(22, text(1)),
    items: within(23, aSchema(1)),
    properties: within(25, entries(1, aSchema(2))),
  },
  extensions: 31,
};

const bodyParameter: Message = {
  name: 'BodyParameter',
  fields: { description: text(1), name: text(2), in: text(3), required: flag(4), schema: aSchema(5) },
};
const queryParameter: Message = {
  name: 'QueryParameterSubSchema',
  fields: { required: flag(1), in: text(2), description: text(3), name: text(4), type: text(6) },
};
const pathParameter: Message = {
  name: 'PathParameterSubSchema',
  fields: { required: flag(1), in: text(2), description: text(3), name: text(4), type: text(5) },
};

function parameter(value: unknown): Uint8Array {
  const where = (value as { readonly in: string }).in;
  switch (where) {
    case 'body':
      return message(1, bodyParameter)(value);
    case 'query':
      return within(2, message(3, queryParameter))(value);
    case 'path':
      return within(2, message(4, pathParameter))(value);
    default:
      throw new TypeError(`OpenAPI v2: a parameter in ${where}`);
  }
}
const parameters = (number: number): Field => each(within(number, within(1, parameter)));

const response: Message = { name: 'Response', fields: { description: text(1), schema: within(2, aSchema(1)) } };
const operation: Message = {
  name: 'Operation',
  fields: {
    description: text(3),
    operationId: text(5),
    produces: each(text(6)),
    consumes: each(text(7)),
    parameters: parameters(8),
    responses: within(9, entries(1, within(2, message(1, response)))),
  },
  extensions: 13,
};
const anOperation = (number: number): Field => message(number, operation);
const pathItem: Message = {
  name: 'PathItem',
  fields: {
    get: anOperation(2),
    put: anOperation(3),
    post: anOperation(4),
    delete: anOperation(5),
    patch: anOperation(8),
    parameters: parameters(9),
  },
  extensions: 10,
};
const document: Message = {
  name: 'Document',
  fields: {
    swagger: text(1),
    info: message(2, { name: 'Info', fields: { title: text(1), version: text(2) } }),
    paths: within(8, entries(2, message(2, pathItem))),
    definitions: within(9, entries(1, aSchema(2))),
  },
};

export const swaggerProtobuf = (swagger: Swagger): Uint8Array => encode(document, swagger);

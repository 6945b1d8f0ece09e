/**
 * The OpenAPI v2 document, made from the v3 ones so that the two cannot tell different stories. kubectl validates manifests of `kind: List`
 * by it, versions before 1.29 everything, and Argo CD connects to no cluster without it.
 */
import type { JsonSchema, OpenApiDocument } from './openapi.js';

export interface Swagger {
  readonly swagger: '2.0';
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, object>>;
  readonly definitions: Readonly<Record<string, JsonSchema>>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly schema?: JsonSchema;
}

interface Content {
  readonly content?: Readonly<Record<string, { readonly schema?: JsonSchema }>>;
}

interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Content & { readonly required?: boolean };
  readonly responses?: Readonly<Record<string, Content & { readonly description?: string }>>;
}

interface DocumentV3 {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> };
}

/** All groups in one document. */
export const openApiV2 = (documents: readonly OpenApiDocument[]): Swagger =>
  swaggerOf(documents.map(({ body }) => JSON.parse(body) as DocumentV3));

function swaggerOf(documents: readonly DocumentV3[]): Swagger {
  return {
    swagger: '2.0',
    info: { title: 'Flotilla', version: 'v1' },
    paths: Object.fromEntries(documents.flatMap(({ paths }) => Object.entries(paths).map(([path, item]) => [path, pathItem(item)]))),
    definitions: Object.fromEntries(
      documents.flatMap(({ components }) => Object.entries(components.schemas).map(([name, schema]) => [name, schemaV2(schema)])),
    ),
  };
}

const pathItem = (item: Readonly<Record<string, unknown>>): object =>
  mapValues(item, (value, key) =>
    key === 'parameters' ? (value as readonly Parameter[]).map(parameterV2) : operationV2(value as Operation),
  );

function operationV2({ parameters = [], requestBody, responses = {}, ...rest }: Operation): object {
  const bodies = Object.entries(requestBody?.content ?? {});
  const body = bodies.map(([, { schema = {} }]) => ({
    name: 'body',
    in: 'body',
    required: requestBody?.required ?? false,
    schema: schemaV2(schema),
  }));
  const all = [...body.slice(0, 1), ...parameters.map(parameterV2)];
  return {
    ...rest,
    ...(bodies.length > 0 && { consumes: bodies.map(([type]) => type) }),
    produces: ['application/json'],
    ...(all.length > 0 && { parameters: all }),
    responses: mapValues(responses, ({ description = '', content = {} }) => {
      const [schema] = Object.values(content).map((one) => one.schema);
      return { description, ...(schema && { schema: schemaV2(schema) }) };
    }),
  };
}

/** In v2 a parameter outside the body is of a plain type that stands beside its name. */
const parameterV2 = ({ schema, ...rest }: Parameter): object => ({ ...rest, type: schema?.type ?? 'string' });

const referencesV3 = '#/components/schemas/';
/** What v2 has no word for. A value with alternatives becomes one of any type, which clients then leave to the server. */
const notInV2 = new Set(['nullable', 'anyOf', 'oneOf', 'allOf', 'not', 'exclusiveMinimum', 'exclusiveMaximum', 'const', 'examples']);

function schemaV2(schema: JsonSchema): JsonSchema {
  const { $ref, properties, additionalProperties, items } = schema;
  if (typeof $ref === 'string') return { $ref: $ref.replace(referencesV3, '#/definitions/') };
  return {
    ...Object.fromEntries(Object.entries(schema).filter(([keyword]) => !notInV2.has(keyword))),
    ...(properties && { properties: mapValues(properties, schemaV2) }),
    ...(typeof additionalProperties === 'object' && { additionalProperties: schemaV2(additionalProperties) }),
    ...(items && { items: schemaV2(items) }),
  };
}

const mapValues = <T, R>(record: Readonly<Record<string, T>>, change: (value: T, key: string) => R): Record<string, R> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value, key)]));

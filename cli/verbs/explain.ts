/** `flotilla explain unit.spec.placement`: what a field means, from the server's own schema. */
import { nearest } from '../../api/resources/suggest.js';
import type { Context } from '../context.js';
import { CliError, exitCode } from '../exit.js';
import { printLine } from '../output.js';

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly 'x-kubernetes-group-version-kind'?: readonly { readonly kind: string }[];
}

export async function explain(context: Context, path: string): Promise<number> {
  const [word = '', ...fields] = path.split('.');
  const kind = await context.kind(word);
  const base = kind.path.slice(1, kind.path.lastIndexOf('/'));
  const document = await context.client.json<{ components: { schemas: Record<string, Schema> } }>(`/openapi/v3/${base}`);
  let schema = Object.values(document.components.schemas).find((candidate) =>
    candidate['x-kubernetes-group-version-kind']?.some((known) => known.kind === kind.kind),
  );
  if (!schema) throw new CliError(`the server publishes no schema for ${kind.kind}`);
  const walked = [kind.singular];
  for (const field of fields) {
    const properties: Readonly<Record<string, Schema>> = propertiesOf(schema);
    const next: Schema | undefined = properties[field];
    if (!next) {
      const near = nearest(field, Object.keys(properties));
      throw new CliError(`${walked.join('.')} has no field "${field}"${near ? `; did you mean "${near}"?` : ''}`);
    }
    walked.push(field);
    schema = next;
  }
  printLine(`KIND:     ${kind.kind}`);
  printLine(`VERSION:  ${base.replace(/^apis?\//, '')}`);
  if (fields.length > 0) printLine(`FIELD:    ${fields.join('.')} <${typeOf(schema)}>`);
  if (schema.description) printLine(`\nDESCRIPTION:\n  ${schema.description}`);
  if (schema.enum) printLine(`\nONE OF:   ${schema.enum.join(', ')}`);
  const properties = Object.entries(propertiesOf(schema));
  if (properties.length > 0) printLine('\nFIELDS:');
  for (const [name, field] of properties) {
    const isRequired = schema.required?.includes(name) ?? false;
    printLine(`  ${name} <${typeOf(field)}>${isRequired ? ' -required-' : ''}`);
    if (field.description) printLine(`    ${field.description}`);
    if (field.enum) printLine(`    one of: ${field.enum.join(', ')}`);
  }
  return exitCode.ok;
}

/** Through lists to what they hold: `units.spec.placement.tolerations.key` works as in kubectl. */
function propertiesOf(schema: Schema): Readonly<Record<string, Schema>> {
  const inner = schema.items ?? schema.allOf?.[0] ?? schema;
  return inner.properties ?? {};
}

function typeOf(schema: Schema): string {
  if (schema.items) return `[]${typeOf(schema.items)}`;
  if (typeof schema.additionalProperties === 'object') return `map[string]${typeOf(schema.additionalProperties)}`;
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' or ');
  return schema.type ?? (schema.properties || schema.allOf ? 'object' : 'any');
}

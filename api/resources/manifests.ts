/**
 * Manifests: YAML or JSON with one or many documents, `kind: List`, and plain unit files. Each object is checked on its own, so a bad one
 * hurts only itself, and every error names the file, the line, the document, the field and what was expected.
 */
import type { FieldError } from './errors.js';
import { fieldPath } from './field-path.js';
import type { Kind } from './kinds.js';
import { apiVersion, type FlotillaObject } from './meta.js';
import { apiVersionOf, kinds } from './registry.js';
import { schemaErrors } from './schema-walk.js';
import { nearest } from './suggest.js';
import { unitTypes } from './unit-name.js';
import { parseYamlDocuments, type YamlDocument, type YamlError } from './yaml.js';

export const maxManifestBytes = 1_048_576;
/** Objects in one file, items of lists included. */
export const maxManifestDocuments = 500;

export interface ManifestSource {
  readonly file: string;
  /** From 1, empty documents not counted. */
  readonly document: number;
  /** Index in the document's list, for `kind: List`. */
  readonly item?: number;
  /** Where the object begins, from 1. */
  readonly line: number;
}

/** An object as the user wrote it, without defaults; it passed the schema and, as far as it goes, its kind's validation. */
export interface ManifestDocument {
  readonly object: FlotillaObject;
  readonly kind: Kind;
  readonly source: ManifestSource;
}

export interface ManifestError {
  readonly file: string;
  readonly document?: number;
  /** From 1. */
  readonly line?: number;
  readonly column?: number;
  /** `unit/web.service`, as far as it is known. */
  readonly object?: string;
  readonly field?: string;
  readonly message: string;
}

export interface Manifests {
  /** In the order of the file; none of them has an entry in `errors`. */
  readonly documents: readonly ManifestDocument[];
  readonly errors: readonly ManifestError[];
}

const unitSuffixes = new Set<string>(unitTypes);

/** `hello.service:6: unit/hello.service: spec.content: …` */
export function manifestErrorText({ file, document, line, column, object, field, message }: ManifestError): string {
  const place = [file, line, column].filter((part) => part !== undefined).join(':');
  const which = [document === undefined ? undefined : `document ${document}`, object === undefined ? undefined : `(${object})`];
  return [place, which.filter(Boolean).join(' '), field, message].filter(Boolean).join(': ');
}

/** Whether a file of this name holds a plain unit file. */
export function isUnitFileName(fileName: string): boolean {
  const base = baseName(fileName);
  return unitSuffixes.has(base.slice(base.lastIndexOf('.') + 1)) && base.includes('.');
}

const baseName = (fileName: string): string => fileName.slice(fileName.lastIndexOf('/') + 1);

/** Finds the kind of an object and what is wrong with it. */
type Check = (object: unknown) => { readonly kind: Kind | undefined; readonly errors: readonly FieldError[] };

/**
 * Never throws: whatever is wrong with the text is in `errors`.
 * @param check how closely to look; to delete an object, say, no more is needed than `checkIdentity`
 */
export function parseManifests(fileName: string, text: string, check: Check = checkObject): Manifests {
  const bytes = Buffer.byteLength(text);
  if (bytes > maxManifestBytes) {
    return fileError(fileName, `the file has ${bytes} bytes, at most ${maxManifestBytes} (1 MiB) are read; split it into several files`);
  }
  return isUnitFileName(fileName) ? unitFileManifest(fileName, text, check) : yamlManifests(fileName, text, check);
}

const fileError = (file: string, message: string): Manifests => ({ documents: [], errors: [{ file, message }] });

function unitFileManifest(file: string, text: string, check: Check): Manifests {
  const object = { apiVersion, kind: 'Unit', metadata: { name: baseName(file) }, spec: { content: text } };
  const { kind, errors } = check(object);
  if (kind !== undefined && errors.length === 0)
    return { documents: [{ object, kind, source: { file, document: 1, line: 1 } }], errors: [] };
  return {
    documents: [],
    errors: errors.map((error) => {
      const inText = lineOfContent(error);
      return inText === undefined ? { file, ...fieldOf(error) } : { file, line: inText.line, message: inText.message };
    }),
  };
}

function yamlManifests(file: string, text: string, check: Check): Manifests {
  const candidates: { object: unknown; path: (string | number)[]; document: YamlDocument; source: ManifestSource }[] = [];
  const errors: ManifestError[] = [];
  for (const [index, result] of parseYamlDocuments(text).entries()) {
    const number = index + 1;
    if ('error' in result) {
      errors.push(yamlError(file, number, result.error));
      continue;
    }
    const { document } = result;
    const items = listItems(document.value);
    if (items === undefined) {
      candidates.push({ object: document.value, path: [], document, source: { file, document: number, line: document.position.line } });
      continue;
    }
    for (const [item, object] of items.entries()) {
      const path = ['items', item];
      candidates.push({ object, path, document, source: { file, document: number, item, line: document.positionOf(path).line } });
    }
  }
  if (candidates.length + errors.length > maxManifestDocuments) {
    return fileError(
      file,
      `the file has ${candidates.length + errors.length} documents, at most ${maxManifestDocuments} are read; split it into several files`,
    );
  }

  const documents: ManifestDocument[] = [];
  const firstLines = new Map<string, number>();
  for (const { object, path, document, source } of candidates) {
    const checked = check(object);
    const name = objectName(object, checked.kind);
    const problems = [...checked.errors];
    if (name !== undefined && checked.kind !== undefined) {
      const first = firstLines.get(name);
      if (first !== undefined)
        problems.push({ field: 'metadata.name', message: `${name} is already described at line ${first}`, reason: 'FieldValueDuplicate' });
    }
    if (checked.kind !== undefined && problems.length === 0) {
      if (name !== undefined) firstLines.set(name, source.line);
      documents.push({ object: object as FlotillaObject, kind: checked.kind, source });
      continue;
    }
    for (const problem of problems) {
      errors.push({
        file,
        document: source.document,
        ...place(problem, path, document),
        ...(name === undefined ? {} : { object: name }),
        ...fieldOf({ ...problem, field: prefixed(path, problem.field) }),
      });
    }
  }
  errors.sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  return { documents, errors };
}

function yamlError(file: string, document: number, { reason, position }: YamlError): ManifestError {
  return { file, document, line: position.line, column: position.column, message: reason };
}

const fieldOf = ({ field, message }: FieldError): { field?: string; message: string } => (field === '' ? { message } : { field, message });

function prefixed(path: readonly (string | number)[], field: string): string {
  if (path.length === 0) return field;
  return field === '' ? fieldPath(path) : `${fieldPath(path)}.${field}`;
}

/** The items of a `kind: List` (or `UnitList`...); undefined for anything else. */
function listItems(value: unknown): readonly unknown[] | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value) || !('items' in value)) return undefined;
  const { kind, items } = value;
  const isList = kind === 'List' || kinds.some((known) => `${known.kind}List` === kind);
  return isList && Array.isArray(items) ? items : undefined;
}

function objectName(object: unknown, kind: Kind | undefined): string | undefined {
  const metadata = (object as { metadata?: { name?: unknown } } | null)?.metadata;
  if (kind === undefined || typeof metadata?.name !== 'string') return undefined;
  return `${kind.singular}/${metadata.name.slice(0, 256)}`;
}

/** `line 7: …` of an error of a unit file, as a number and the rest. */
function lineOfContent({ field, message }: FieldError): { line: number; message: string } | undefined {
  const match = /(?:^|\.)spec\.content$/.test(field) ? /^line (\d+): (.*)$/s.exec(message) : null;
  return match === null ? undefined : { line: Number(match[1]), message: match[2]! };
}

/** Where in the file the error is; a line of a unit file written as a `|` block is the line of the manifest. */
function place(error: FieldError, path: readonly (string | number)[], document: YamlDocument): { line: number; column?: number } {
  const inText = lineOfContent(error);
  const block = inText === undefined ? undefined : document.blockLineOf([...path, ...pathOf(error.field)]);
  if (inText !== undefined && block !== undefined) return { line: block + inText.line - 1 };
  return document.positionOf([...path, ...pathOf(error.field)]);
}

/** The inverse of fieldPath. */
function pathOf(field: string): (string | number)[] {
  return Array.from(field.matchAll(/\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([^.[\]]+)/g), ([, index, quoted, plain]) => {
    if (index !== undefined) return Number(index);
    return quoted === undefined ? plain! : (JSON.parse(`"${quoted}"`) as string);
  });
}

/** Which kind the object is of, and what is wrong with it; what is only missing is not, since it may be one owner's part of an object. */
export const checkObject: Check = (object) => {
  const { kind, errors: ofKind } = checkKind(object);
  if (kind === undefined || ofKind.length > 0) return { kind, errors: ofKind };
  const errors = schemaErrors(kind, object);
  if (errors.length > 0) return { kind, errors };
  // What is missing may be there already: an applied manifest can be one owner's part of an object.
  const partial = kind.validate(kind.withDefaults(object as FlotillaObject)).filter(({ reason }) => reason !== 'FieldValueRequired');
  return { kind, errors: partial };
};

/** Which object it is about, whatever else is written there. */
export const checkIdentity: Check = (object) => {
  const { kind, errors } = checkKind(object);
  if (kind === undefined || errors.length > 0 || objectName(object, kind) !== undefined) return { kind, errors };
  return { kind, errors: [{ field: 'metadata.name', message: 'is required', reason: 'FieldValueRequired' }] };
};

const checkKind: Check = (object) => {
  if (typeof object !== 'object' || object === null || Array.isArray(object)) {
    return { kind: undefined, errors: [{ field: '', message: 'expected an object with apiVersion, kind and metadata' }] };
  }
  const { kind: word, apiVersion: version } = object as Record<string, unknown>;
  const kind = kinds.find((known) => known.kind === word);
  if (kind === undefined) return { kind, errors: [unknownKind(word, version)] };
  if (!kind.writable) {
    return {
      kind,
      errors: [
        { field: 'kind', message: `${kind.kind} objects are written by the system and cannot be applied`, reason: 'FieldValueForbidden' },
      ],
    };
  }
  if (version !== apiVersionOf(kind)) {
    const message = version === undefined ? 'is required; expected' : 'expected';
    return { kind, errors: [{ field: 'apiVersion', message: `${message} ${JSON.stringify(apiVersionOf(kind))} for kind ${kind.kind}` }] };
  }
  return { kind, errors: [] };
};

function unknownKind(word: unknown, version: unknown): FieldError {
  const applicable = kinds.filter(({ writable }) => writable).map(({ kind }) => kind);
  if (word === undefined)
    return { field: 'kind', message: `is required; expected one of ${applicable.join(', ')}`, reason: 'FieldValueRequired' };
  const shown = JSON.stringify(typeof word === 'string' ? word.slice(0, 64) : typeof word);
  const of = typeof version === 'string' && version !== apiVersion ? ` of ${JSON.stringify(version.slice(0, 64))}` : '';
  const near = typeof word === 'string' ? nearest(word, applicable) : undefined;
  const hint = near === undefined ? `; expected one of ${applicable.join(', ')}` : `; did you mean "${near}"?`;
  return { field: 'kind', message: `unknown kind ${shown}${of}${hint}`, reason: 'FieldValueNotSupported' };
}

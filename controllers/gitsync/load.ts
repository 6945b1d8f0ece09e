/**
 * From the files below spec.path to the objects that they describe. Everything is read and checked before anything is applied; whatever
 * is wrong names its file, and the revision is good as a whole or not at all.
 */
import { maxObjectBytes } from '../../api/objects/storage.js';
import { checkObject, isUnitFileName, manifestErrorText, parseManifests } from '../../api/resources/manifests.js';
import { apiVersionOf } from '../../api/resources/registry.js';
import { nearest } from '../../api/resources/suggest.js';
import { isInstanceName, templateNameOf } from '../../api/resources/unit-name.js';
import { type Followed, followLinks, linkLimits } from '../../runtime/git/links.js';
import type { Tree } from '../../runtime/git/repositories.js';
import type { TreeFile } from '../../runtime/git/tree.js';
import { BadRevision, documentId, type SyncDocument } from './documents.js';
import { isKustomization, kustomizationNames, parseKustomization, transform } from './kustomization.js';
import { type ParsedFile, ParsedFiles } from './parsed-files.js';
import { ignoredBy, ignoreFileName } from './syncignore.js';

export const loadLimits = {
  /** Objects of one GitSync. */
  maxDocuments: 5_000,
  /** Kustomizations in one another. */
  maxNesting: 20,
  /** Files parsed before others get a turn. */
  filesPerTurn: 25,
};

const isManifestName = (path: string): boolean => /\.(?:ya?ml|json)$/i.test(path) || isUnitFileName(path);
const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
const isKustomizationName = (path: string): boolean => (kustomizationNames as readonly string[]).includes(baseName(path));
const lfsPointer = 'version https://git-lfs.github.com/spec/';

/** Sorted by file. @throws BadRevision, GitError */
export async function loadDocuments(tree: Tree, parsed = new ParsedFiles()): Promise<SyncDocument[]> {
  const ignored = ignoredBy(await ignoreRules(tree));
  const { files: seen, problems: astray } = await withLinks(tree, ignored);
  const files = seen.filter(({ kind, path }) => kind === 'file' && (isManifestName(path) || isKustomizationName(path)));
  const contents = await tree.read(files);
  const problems = astray.map((problem) => `${problem}: point it to something below spec.path, or name it in ${ignoreFileName}`);
  const texts = new Map<string, FileText>();
  files.forEach((file, at) => {
    const { path } = file;
    const text = textOf(contents[at]!);
    if (text === undefined) problems.push(`${path}: is not UTF-8 text`);
    else if (text.startsWith(lfsPointer)) problems.push(`${path}: is a pointer of Git LFS, which is not fetched`);
    else texts.set(path, { file, text });
  });
  const builder = new Builder(texts, parsed, (problem) => problems.push(problem));
  const documents = onceEach(await builder.directory('', 0), new Map(files.map(({ path, realPath }) => [path, realPath])));
  checkWhole(documents, (problem) => problems.push(problem));
  if (problems.length > 0) throw new BadRevision([...new Set(problems)]);
  return documents;
}

/** Everything that is not ignored, by the names that links give, too. */
async function withLinks({ files, read }: Tree, ignored: (path: string) => boolean): Promise<Followed> {
  const links = files.filter(({ kind }) => kind === 'symlink');
  if (!links.some(({ path }) => !ignored(path))) {
    const visible = files.filter(({ path }) => !ignored(path));
    return { files: visible.map((file) => ({ ...file, realPath: file.path })), problems: [] };
  }
  const readable = links.filter(({ bytes }) => bytes <= linkLimits.maxTargetBytes);
  const contents = await read(readable);
  const targets = new Map<string, string>();
  readable.forEach(({ path }, at) => {
    const target = textOf(contents[at]!);
    if (target !== undefined) targets.set(path, target);
  });
  return followLinks(files, targets, ignored);
}

/** A file that is seen in its own place and through a link describes its objects once. */
function onceEach(documents: readonly SyncDocument[], realPaths: ReadonlyMap<string, string>): SyncDocument[] {
  const known = new Map<string, SyncDocument>();
  return documents.filter((document) => {
    const realPath = realPaths.get(document.file);
    const key = `${documentId(document)} ${realPath}`;
    const first = known.get(key);
    if (first === undefined) known.set(key, document);
    return first === undefined || first.file === document.file || JSON.stringify(first.object) !== JSON.stringify(document.object);
  });
}

async function ignoreRules(tree: Tree): Promise<string> {
  const file = tree.files.find(({ path }) => path === ignoreFileName);
  if (file === undefined) return '';
  if (file.kind !== 'file') throw new BadRevision([`${ignoreFileName} is not a file`]);
  const [content] = await tree.read([file satisfies TreeFile]);
  return content?.toString('utf8') ?? '';
}

function textOf(content: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    return undefined;
  }
}

interface FileText {
  readonly file: TreeFile;
  readonly text: string;
}

class Builder {
  readonly #directories = new Set<string>(['']);
  readonly #inProgress = new Set<string>();
  readonly #sorted: readonly (readonly [string, FileText])[];
  #parsed = 0;

  constructor(
    private readonly texts: ReadonlyMap<string, FileText>,
    private readonly parsed: ParsedFiles,
    private readonly problem: (message: string) => void,
  ) {
    for (const path of texts.keys()) {
      for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1))
        this.#directories.add(path.slice(0, slash));
    }
    this.#sorted = [...texts].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** What a directory holds: what its kustomization lists, or every manifest in it and below. */
  async directory(directory: string, depth: number): Promise<SyncDocument[]> {
    const prefix = directory === '' ? '' : `${directory}/`;
    const [file, ...others] = kustomizationNames.map((name) => prefix + name).filter((path) => this.#isKustomization(path));
    if (others.length > 0)
      this.problem(`${prefix}: holds ${[file, ...others].map((path) => baseName(path!)).join(' and ')}; expected one of them`);
    if (file !== undefined) return this.#kustomized(file, prefix, depth);

    const documents: SyncDocument[] = [];
    const subdirectories = new Set<string>();
    for (const [path, text] of this.#sorted) {
      if (!path.startsWith(prefix)) continue;
      const slash = path.indexOf('/', prefix.length);
      if (slash >= 0) subdirectories.add(path.slice(0, slash));
      else if (isManifestName(path)) documents.push(...(await this.#file(text)));
    }
    for (const subdirectory of subdirectories) documents.push(...(await this.directory(subdirectory, depth)));
    return documents;
  }

  #isKustomization(path: string): boolean {
    const text = this.texts.get(path)?.text;
    return text !== undefined && (baseName(path) !== 'flotilla.yaml' || isKustomization(text));
  }

  async #file({ file, text }: FileText): Promise<readonly SyncDocument[]> {
    let isNew = false;
    const { documents, problems } = this.parsed.of(file, () => {
      isNew = true;
      return parsedFile(file.path, text);
    });
    // Many files, and agents' heartbeats must not wait for the last of them.
    if (isNew && ++this.#parsed % loadLimits.filesPerTurn === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    for (const problem of problems) this.problem(problem);
    return documents;
  }

  async #kustomized(file: string, prefix: string, depth: number): Promise<SyncDocument[]> {
    const kustomization = parseKustomization(this.texts.get(file)?.text ?? '');
    if ('problem' in kustomization) {
      this.problem(`${file}: ${kustomization.problem}`);
      return [];
    }
    if (this.#inProgress.has(file) || depth >= loadLimits.maxNesting) {
      this.problem(`${file}: its resources lead back to itself`);
      return [];
    }
    this.#inProgress.add(file);
    const documents: SyncDocument[] = [];
    for (const [index, resource] of kustomization.resources.entries()) {
      documents.push(...(await this.#resource(file, prefix, resource, `resources[${index}]`, depth)));
    }
    this.#inProgress.delete(file);
    const readPatch = (path: string) => {
      const resolved = resolveBelow(prefix, path);
      return resolved === undefined ? undefined : this.texts.get(resolved)?.text;
    };
    const asRead = new Set(documents.map(({ object }) => object));
    const transformed = transform(documents, kustomization, readPatch, (message) => this.problem(`${file}: ${message}`));
    for (const document of transformed) {
      // What was read from a file was checked there; what a kustomization made of it is checked again.
      if (asRead.has(document.object)) continue;
      for (const { field, message } of checkObject(document.object).errors) {
        this.problem(`${document.file}: ${documentId(document)}, as ${file} changes it: ${field === '' ? '' : `${field}: `}${message}`);
      }
    }
    return transformed;
  }

  async #resource(file: string, prefix: string, resource: string, where: string, depth: number): Promise<readonly SyncDocument[]> {
    const path = resolveBelow(prefix, resource);
    if (path === undefined) {
      this.problem(`${file}: ${where}: ${resource} leads out of spec.path; expected a file or directory below it`);
      return [];
    }
    const text = this.texts.get(path);
    if (text !== undefined) return this.#file(text);
    if (this.#directories.has(path)) return this.directory(path, depth + 1);
    const near = nearest(path, [...this.texts.keys(), ...this.#directories]);
    this.problem(`${file}: ${where}: there is no manifest or directory ${path}${near === undefined ? '' : `; did you mean ${near}?`}`);
    return [];
  }
}

function parsedFile(path: string, text: string): ParsedFile {
  const { documents, errors } = parseManifests(path, text);
  return {
    documents: documents.map(({ kind, object }) => ({ kind, object, file: path })),
    problems: errors.map(manifestErrorText),
  };
}

/** A path as it is written in a file of the directory `prefix`; undefined when it leads out of the tree. */
export function resolveBelow(prefix: string, path: string): string | undefined {
  if (path.startsWith('/')) return undefined;
  const steps = prefix.split('/').filter((step) => step !== '');
  for (const step of path.split('/')) {
    if (step === '' || step === '.') continue;
    if (step === '..') {
      if (steps.pop() === undefined) return undefined;
    } else steps.push(step);
  }
  return steps.join('/');
}

/** What only all of them together, or the whole of one, can get wrong. */
function checkWhole(documents: readonly SyncDocument[], problem: (message: string) => void): void {
  if (documents.length > loadLimits.maxDocuments) {
    problem(`the path describes ${documents.length} objects, at most ${loadLimits.maxDocuments} are applied by one GitSync: split it`);
  }
  const files = new Map<string, string>();
  for (const document of documents) {
    const { file } = document;
    const id = documentId(document);
    const first = files.get(id);
    if (first !== undefined) problem(`${file}: ${id} is already described in ${first}`);
    files.set(id, first ?? file);
    for (const wrong of wholeProblems(document)) problem(`${file}: ${id}${wrong}`);
  }
}

/** By object: one that is read again as it was has nothing else wrong with it. */
const checkedWhole = new WeakMap<object, readonly string[]>();

function wholeProblems({ kind, object }: SyncDocument): readonly string[] {
  const known = checkedWhole.get(object);
  if (known !== undefined) return known;
  const problems: string[] = [];
  if (object.apiVersion !== apiVersionOf(kind)) problems.push(`: expected apiVersion ${apiVersionOf(kind)}`);
  const bytes = Buffer.byteLength(JSON.stringify(object));
  if (bytes > maxObjectBytes) problems.push(` has ${bytes} bytes, at most ${maxObjectBytes} can be stored`);
  // A manifest in a repository is the whole of its object: what is missing is missing.
  for (const { field, message, reason } of kind.validate(kind.withDefaults(object))) {
    if (reason === 'FieldValueRequired') problems.push(`: ${field}: ${message}`);
  }
  checkedWhole.set(object, problems);
  return problems;
}

/** Instances without a text of their own → the template that they follow. */
export function templatesNeeded(documents: readonly SyncDocument[]): Map<SyncDocument, string> {
  const needed = new Map<SyncDocument, string>();
  for (const document of documents) {
    const { kind, object } = document;
    const spec = (object.spec ?? {}) as { content?: unknown; sections?: unknown };
    if (kind.plural !== 'units' || spec.content !== undefined || spec.sections !== undefined || !isInstanceName(object.metadata.name))
      continue;
    const template = templateNameOf(object.metadata.name);
    if (template !== undefined) needed.set(document, template);
  }
  return needed;
}

/**
 * The only door to js-yaml. YAML 1.2 core schema (JSON is part of it): dates and yes/no stay text, `<<` and tags of other schemas are
 * refused. Errors give line, column and reason, and never quote the source, which may hold secrets.
 */
import {
  type AliasEvent,
  CORE_SCHEMA,
  constructFromEvents,
  dump,
  EVENT_ID,
  type Event,
  getScalarValue,
  type MappingEvent,
  parseEvents,
  SCALAR_STYLE,
  type ScalarEvent,
  type SequenceEvent,
  YAMLException,
} from 'js-yaml';
import { fieldPath } from './field-path.js';
import { maxDepth, maxNodes, measureValue } from './plain-value.js';

export interface Position {
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

export class YamlError extends Error {
  override readonly name = 'YamlError';

  constructor(
    readonly reason: string,
    readonly position: Position,
  ) {
    super(`line ${position.line}, column ${position.column}: ${reason}`);
  }
}

/** Of all documents together, so that many small alias bombs are no better than one. */
const maxNodesOfText = 10 * maxNodes;

type Path = readonly (string | number)[];

export interface YamlDocument {
  /** A tree of plain values: aliases are copies, no key is `__proto__`, at most `maxNodes` nodes and `maxDepth` levels. */
  readonly value: unknown;
  /** Where its first node is. */
  readonly position: Position;
  /** Where the field (its name, for a key of a map) was written; of a path that does not exist, its nearest parent. */
  positionOf(path: Path): Position;
  /** The line on which the text of a `|` block begins; undefined for a value that was written in another way. */
  blockLineOf(path: Path): number | undefined;
}

/** A document, or why it is none. */
export type YamlResult = { readonly document: YamlDocument } | { readonly error: YamlError };

/**
 * Every document of the text, each on its own: what is wrong with one does not touch the others. Empty ones are left out. `---` and `...`
 * at the start of a line always end a document in YAML, inside block texts too, so the text can be cut there before it is parsed.
 */
export function parseYamlDocuments(text: string): YamlResult[] {
  const results: YamlResult[] = [];
  let nodesLeft = maxNodesOfText;
  for (const { source, firstLine } of splitDocuments(text)) {
    try {
      const parsed = parseDocument(source, firstLine, Math.min(maxNodes, nodesLeft));
      if (parsed === undefined) continue;
      nodesLeft -= parsed.nodes;
      results.push({ document: parsed.document });
    } catch (error) {
      if (!(error instanceof YamlError)) throw error;
      results.push({ error });
    }
  }
  return results;
}

/**
 * The value of a text with exactly one document.
 * @throws YamlError
 */
export function parseYaml(text: string): unknown {
  const results = parseYamlDocuments(text);
  const [first, second] = results;
  if (first === undefined) throw new YamlError('the text is empty; expected one document', { line: 1, column: 1 });
  if ('error' in first) throw first.error;
  if (second !== undefined) {
    throw new YamlError('expected one document, found several', 'error' in second ? second.error.position : second.document.position);
  }
  return first.document.value;
}

/** Text of a value, laid out as kubectl does: long lines stay whole, texts of several lines are blocks, every string reads back as a string everywhere. */
export const printYaml = (value: unknown): string => dump(value, { noRefs: true, lineWidth: -1, quoteStyle: 'double', seqNoIndent: true });

interface Chunk {
  readonly source: string;
  readonly firstLine: number;
}

function splitDocuments(text: string): Chunk[] {
  const chunks: Chunk[] = [];
  let lines: string[] = [];
  let firstLine = 1;
  const close = (nextLine: number, lineEnd: string): void => {
    // Comments and directives alone are no document.
    if (lines.some((line) => !/^(?:\s*(?:#.*)?|%.*|---\s*(?:#.*)?)$/.test(line))) {
      chunks.push({ source: lines.join('\n') + lineEnd, firstLine });
    }
    lines = [];
    firstLine = nextLine;
  };
  const lineTexts = (text.startsWith('\ufeff') ? text.slice(1) : text).split(/\r\n|\n|\r/);
  for (const [index, line] of lineTexts.entries()) {
    const number = index + 1;
    if (/^\.\.\.(?:\s|$)/.test(line)) {
      close(number + 1, '\n');
      continue;
    }
    if (/^---(?:\s|$)/.test(line)) close(number, '\n');
    lines.push(line);
  }
  close(0, '');
  return chunks;
}

function parseDocument(source: string, firstLine: number, nodeLimit: number): { document: YamlDocument; nodes: number } | undefined {
  const positionAt = (offset: number): Position => {
    const before = source.slice(0, offset);
    const lineStart = before.lastIndexOf('\n') + 1;
    return { line: firstLine + before.split('\n').length - 1, column: offset - lineStart + 1 };
  };
  const { events, values } = guarded(firstLine, () => {
    // js-yaml counts a level for the document itself; our own limit, with its own words, is below.
    const parsed = parseEvents(source, { maxDepth: 2 * maxDepth });
    return { events: parsed, values: constructFromEvents(parsed, { source, schema: CORE_SCHEMA }) };
  });
  const root = events[1];
  if (root === undefined || root.type === EVENT_ID.POP) return undefined;

  const tree = new EventTree(events, source);
  const [value] = values;
  const { nodes, problem } = measureValue(value, nodeLimit);
  if (nodes > nodeLimit && nodeLimit < maxNodes) {
    throw new YamlError(
      `the documents up to here have more than ${maxNodesOfText} nodes in all, aliases counted as often as they are used`,
      positionAt(tree.offsetOf([])),
    );
  }
  if (problem !== undefined) {
    const at = problem.path.length === 0 ? '' : `${fieldPath(problem.path)}: `;
    throw new YamlError(`${at}${problem.message}`, positionAt(tree.offsetOf(problem.path)));
  }
  const merge = findMergeKey(value, []);
  if (merge !== undefined) {
    throw new YamlError('merge keys (<<) are not supported; write the fields out', positionAt(tree.offsetOf(merge)));
  }
  const document: YamlDocument = {
    // Its size is bounded by now, so copying shared nodes is cheap, and nobody changes two fields at once.
    value: copyTree(value),
    position: positionAt(tree.offsetOf([])),
    positionOf: (path) => positionAt(tree.offsetOf(path)),
    blockLineOf: (path) => {
      const offset = tree.blockOffsetOf(path);
      return offset === undefined ? undefined : positionAt(offset).line;
    },
  };
  return { document, nodes };
}

function guarded<T>(firstLine: number, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const { mark } = error;
    throw new YamlError(safeReason(error.reason), { line: firstLine + (mark?.line ?? 0), column: (mark?.column ?? 0) + 1 });
  }
}

/** js-yaml's reasons are constant but for the name of an alias or tag, and that can be an unquoted password that began with `*` or `!`. */
function safeReason(reason: string): string {
  if (reason.startsWith('unidentified alias')) return 'an alias (*name) that no anchor defines; put text that begins with "*" in quotes';
  if (/^unknown \w+ tag/.test(reason)) return 'a tag (!name) that is not supported; put text that begins with "!" in quotes';
  return reason.replace(/\s*["'!<].*$/s, '');
}

function findMergeKey(value: unknown, path: Path): Path | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (!Array.isArray(value) && Object.hasOwn(value, '<<')) return [...path, '<<'];
  for (const [key, child] of Array.isArray(value) ? value.entries() : Object.entries(value)) {
    const found = findMergeKey(child, [...path, key]);
    if (found !== undefined) return found;
  }
  return undefined;
}

function copyTree(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyTree);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, copyTree(child)]));
}

type NodeEvent = SequenceEvent | MappingEvent | ScalarEvent | AliasEvent;

/** Finds nodes in the parser's events by path: done only for errors, so nothing is kept for the documents that have none. */
class EventTree {
  constructor(
    private readonly events: readonly Event[],
    private readonly source: string,
  ) {}

  /** Where the path was written: a map's key, a list's item. */
  offsetOf(path: Path): number {
    return this.find(path).offset;
  }

  /** Where the first line of a literal block's text begins. */
  blockOffsetOf(path: Path): number | undefined {
    const { value, whole } = this.find(path);
    if (!whole || value?.type !== EVENT_ID.SCALAR || value.style !== SCALAR_STYLE.LITERAL_BLOCK) return undefined;
    const headerStart = this.source.lastIndexOf('\n', Math.max(0, value.valueStart - 1));
    return value.valueStart > 0 && headerStart === value.valueStart - 1
      ? value.valueStart
      : this.source.indexOf('\n', value.valueStart) + 1;
  }

  private find(path: Path): { offset: number; value: NodeEvent | undefined; whole: boolean } {
    let at = 1;
    let offset = startOf(this.node(at));
    for (const [depth, part] of path.entries()) {
      const child = this.child(at, part);
      if (child === undefined) return { offset, value: this.node(at), whole: false };
      at = child.value;
      offset = startOf(this.node(child.name));
      if (depth === path.length - 1) return { offset, value: this.node(at), whole: true };
    }
    return { offset, value: this.node(at), whole: true };
  }

  /** Event indices of the part's name (the item itself in a list) and value; undefined in a scalar or behind an alias. */
  private child(parent: number, part: string | number): { name: number; value: number } | undefined {
    const type = this.events[parent]?.type;
    let at = parent + 1;
    for (let index = 0; at < this.events.length && this.events[at]!.type !== EVENT_ID.POP; index++) {
      if (type === EVENT_ID.SEQUENCE) {
        if (index === part) return { name: at, value: at };
        at = this.after(at);
      } else if (type === EVENT_ID.MAPPING) {
        const value = this.after(at);
        const key = this.events[at]!;
        if (key.type === EVENT_ID.SCALAR && getScalarValue(this.source, key) === part) return { name: at, value };
        at = this.after(value);
      } else {
        return undefined;
      }
    }
    return undefined;
  }

  /** Index of the event after the node that begins at `index`. */
  private after(index: number): number {
    const { type } = this.events[index]!;
    if (type !== EVENT_ID.SEQUENCE && type !== EVENT_ID.MAPPING) return index + 1;
    let at = index + 1;
    for (let open = 1; open > 0 && at < this.events.length; at++) {
      const inner = this.events[at]!.type;
      if (inner === EVENT_ID.POP) open--;
      else if (inner === EVENT_ID.SEQUENCE || inner === EVENT_ID.MAPPING) open++;
    }
    return at;
  }

  private node(index: number): NodeEvent | undefined {
    const event = this.events[index];
    return event === undefined || event.type === EVENT_ID.DOCUMENT || event.type === EVENT_ID.POP ? undefined : event;
  }
}

function startOf(event: NodeEvent | undefined): number {
  if (event === undefined) return 0;
  if (event.type === EVENT_ID.SCALAR) return Math.max(0, event.valueStart);
  if (event.type === EVENT_ID.ALIAS) return Math.max(0, event.anchorStart);
  return Math.max(0, event.start);
}

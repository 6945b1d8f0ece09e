/**
 * The unit file parser. What systemd 252 accepts (conf-parser.c, systemd.syntax(7)) is read with systemd's meaning; what systemd would
 * warn about and ignore, or refuse, is an error here that names its line: nobody reads a machine's journal to find a missing `=`.
 */

/** One `Name=value`, in the order of the file. A repeated option appears as often as it was written, `Name=` with value ''. */
export interface UnitOption {
  readonly section: string;
  readonly name: string;
  /** Continuation lines joined, outer white space gone; quotes, escapes and specifiers are as written. */
  readonly value: string;
  /** Where the option begins, from 1. */
  readonly line: number;
}

export interface SectionHeader {
  readonly name: string;
  readonly line: number;
}

export interface UnitFile {
  /** Every section header as met, empty and repeated ones too. */
  readonly sections: readonly SectionHeader[];
  readonly options: readonly UnitOption[];
}

export interface LineProblem {
  /** From 1. */
  readonly line: number;
  /** What is wrong, without quoting more of the line than its first word: a line may hold a password. */
  readonly message: string;
}

/** A text that is no unit file: what is wrong, line by line, at most `maxProblems` of them. */
export class UnitFileError extends Error {
  override readonly name = 'UnitFileError';

  constructor(readonly problems: readonly LineProblem[]) {
    super(problems.map(({ line, message }) => `line ${line}: ${message}`).join('; '));
  }
}

/** In UTF-16 units, as the schema counts. */
export const maxUnitFileLength = 65_536;
const maxProblems = 20;

/** systemd's WHITESPACE; JavaScript's own trim would also take no-break spaces. */
const isSpace = (char: string | undefined): boolean => char === ' ' || char === '\t' || char === '\n' || char === '\r';

function strip(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(text[start])) start++;
  while (end > start && isSpace(text[end - 1])) end--;
  return text.slice(start, end);
}

/** An odd number of backslashes at the end: the last one is not escaped by the one before. */
export function endsInBackslash(line: string): boolean {
  let end = line.length;
  while (end > 0 && line[end - 1] === '\\') end--;
  return (line.length - end) % 2 === 1;
}

interface LogicalLine {
  readonly text: string;
  readonly line: number;
}

/**
 * Lines after comments were taken out and continuations joined, stripped. A backslash at the end of a line becomes a space and the next
 * line follows as it is; comment lines between them vanish and do not end it, an empty line does.
 */
function* logicalLines(text: string): Generator<LogicalLine> {
  const physical = (text.startsWith('\ufeff') ? text.slice(1) : text).split(/\r\n|\n\r|\n|\r/);
  let parts: string[] = [];
  let start = 0;
  for (const [index, line] of physical.entries()) {
    const first = line[firstNonSpace(line)];
    if (first === '#' || first === ';') continue;
    if (parts.length === 0) start = index + 1;
    if (endsInBackslash(line)) {
      parts.push(`${line.slice(0, -1)} `);
      continue;
    }
    parts.push(line);
    yield { text: strip(parts.join('')), line: start };
    parts = [];
  }
  if (parts.length > 0) yield { text: strip(parts.join('')), line: start };
}

function firstNonSpace(line: string): number {
  let index = 0;
  while (index < line.length && isSpace(line[index])) index++;
  return index;
}

/**
 * One write asks for the same text again and again: its rules, its placement, its spelling, the scheduler. What was read lately is kept;
 * long texts, which are rare, are read anew.
 */
const keptTexts = 512;
const longestKept = 4_096;
const lately = new Map<string, UnitFile>();

/** @throws UnitFileError, and nothing else. Time is linear in the length of the text. */
export function parseUnitFile(text: string): UnitFile {
  const known = lately.get(text);
  if (known !== undefined) return known;
  const file = readUnitFile(text);
  if (text.length > longestKept) return file;
  lately.set(text, file);
  if (lately.size > keptTexts) lately.delete(lately.keys().next().value!);
  return file;
}

function readUnitFile(text: string): UnitFile {
  if (text.length > maxUnitFileLength) {
    throw new UnitFileError([
      { line: 1, message: `a unit file can have at most ${maxUnitFileLength} characters, this one has ${text.length}` },
    ]);
  }
  const sections: SectionHeader[] = [];
  const options: UnitOption[] = [];
  const problems: LineProblem[] = [];
  let section: string | undefined;
  /** After a broken header: its options are not blamed for it. */
  let afterBrokenHeader = false;

  for (const { text: content, line } of logicalLines(text)) {
    if (content === '') continue;
    const problem = characterProblem(content);
    if (problem !== undefined) {
      problems.push({ line, message: problem });
    } else if (content.startsWith('[')) {
      const header = parseHeader(content);
      section = header.name;
      afterBrokenHeader = header.name === undefined;
      if (header.name === undefined) problems.push({ line, message: header.problem });
      else sections.push({ name: header.name, line });
    } else {
      const option = parseAssignment(content);
      if ('problem' in option) problems.push({ line, message: option.problem });
      else if (section !== undefined) options.push({ section, ...option, line });
      else if (!afterBrokenHeader) {
        problems.push({ line, message: `${firstWord(option.name)} stands before any section; expected a header such as [Service] first` });
      }
    }
    if (problems.length >= maxProblems) break;
  }
  if (problems.length > 0) throw new UnitFileError(problems);
  return { sections, options };
}

function characterProblem(content: string): string | undefined {
  if (content.includes('\0')) return 'a unit file cannot contain a NUL byte';
  if (/[\ud800-\udfff]/u.test(content)) return 'not valid Unicode';
  return undefined;
}

function parseHeader(content: string): { name: string } | { name: undefined; problem: string } {
  const end = content.indexOf(']');
  if (end < 0) return { name: undefined, problem: 'the section header has no closing "]"' };
  if (end !== content.length - 1) {
    return {
      name: undefined,
      problem: `unexpected text after ${content.slice(0, Math.min(end + 1, 64))}; expected the header alone on its line`,
    };
  }
  const name = content.slice(1, -1);
  if (name === '') return { name: undefined, problem: 'the section header is empty; expected a name such as [Service]' };
  if (/[\u0000-\u001f\u007f"'\\[]/.test(name))
    return { name: undefined, problem: 'the section header has characters that no section name has' };
  return { name };
}

function parseAssignment(content: string): { name: string; value: string } | { problem: string } {
  const equals = content.indexOf('=');
  if (equals < 0) return { problem: `${firstWord(content)} has no "="; expected Name=value` };
  const name = strip(content.slice(0, equals));
  if (name === '') return { problem: 'nothing stands before "="; expected Name=value' };
  // systemd would take all of it for a name that it does not know, and drop the line.
  if (/\s/.test(name)) return { problem: `${firstWord(name)} is not followed by "="; expected Name=value` };
  return { name, value: strip(content.slice(equals + 1)) };
}

/** The first word if it looks like an option's name, which is no secret. */
function firstWord(content: string): string {
  const word = /^[A-Za-z][A-Za-z0-9-]{0,63}(?=\s|$)/.exec(content)?.[0];
  return word === undefined ? 'the line' : `"${word}"`;
}

/** Values of an option that may be repeated: those after its last empty assignment, which resets the list. */
export function valuesOf(file: UnitFile, section: string, name: string): string[] {
  const values: string[] = [];
  for (const option of file.options) {
    if (option.section !== section || option.name !== name) continue;
    if (option.value === '') values.length = 0;
    else values.push(option.value);
  }
  return values;
}

/** Value of an option of which the last assignment counts; undefined when it was never made, '' when it was reset. */
export function lastValueOf(file: UnitFile, section: string, name: string): string | undefined {
  return file.options.findLast((option) => option.section === section && option.name === name)?.value;
}

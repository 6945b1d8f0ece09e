/**
 * fleet's own reading of a unit file, its normalised text and its SHA-1, by which fleetctl tells whether two units are the same. It reads
 * differently from systemd: continuations stay as written, `Name=` resets nothing, comment lines inside a continuation are text.
 */
import { createHash } from 'node:crypto';
import { parseUnitFile, UnitFileError } from './parse.js';
import { groupBySection } from './print.js';

export interface FleetOption {
  readonly section: string;
  readonly name: string;
  readonly value: string;
}

/** Physical lines of this many bytes or more are refused by fleet. */
const maxLineBytes = 2048;

/** What Go's unicode.IsSpace takes for white space. */
const isGoSpace = (char: string | undefined): boolean =>
  char !== undefined && (char === '\u0085' || (char !== '\ufeff' && /\s/.test(char)));

function goTrim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isGoSpace(text[start])) start++;
  while (end > start && isGoSpace(text[end - 1])) end--;
  return text.slice(start, end);
}

/**
 * The options as fleet reads them.
 * @throws UnitFileError with fleet's message
 */
export function fleetOptions(text: string): FleetOption[] {
  const options: FleetOption[] = [];
  let at = 0;
  let line = 1;
  let section: string | undefined;

  const fail = (message: string): never => {
    throw new UnitFileError([{ line, message }]);
  };
  /** The rest of the line without its end; `ended` tells whether a newline closed it. */
  const restOfLine = (): { rest: string; ended: boolean } => {
    const end = text.indexOf('\n', at);
    const rest = end < 0 ? text.slice(at) : text.slice(at, end);
    if (Buffer.byteLength(rest) >= maxLineBytes) fail(`line too long (max ${maxLineBytes} bytes)`);
    at = end < 0 ? text.length : end + 1;
    if (end >= 0) line++;
    return { rest, ended: end >= 0 };
  };
  const skipComment = (): void => {
    for (;;) {
      const { rest, ended } = restOfLine();
      const trimmed = rest.endsWith(' ') ? rest.slice(0, -1) : rest;
      if (!trimmed.endsWith('\\') || !ended) return;
    }
  };
  const readHeader = (): void => {
    const end = text.indexOf(']', at);
    if (end < 0) fail('unable to find end of section');
    section = text.slice(at + 1, end);
    line += section.split('\n').length - 1;
    at = end + 1;
    if (goTrim(restOfLine().rest) !== '') fail(`found garbage after section name ${section}`);
  };
  const readValue = (): string => {
    let value = '';
    for (;;) {
      const { rest, ended } = restOfLine();
      if (goTrim(rest) === '') break;
      value += rest;
      if (!rest.endsWith('\\')) break;
      if (ended) value += '\n';
    }
    // A newline at the end was put there by a dangling backslash, and fleet keeps it.
    return value.endsWith('\n') ? `${goTrim(value)}\n` : goTrim(value);
  };
  const readOption = (inSection: string): void => {
    const end = /[=\n\r]/.exec(text.slice(at, at + maxLineBytes));
    if (end?.[0] !== '=') fail('unexpected newline encountered while parsing option name');
    const name = goTrim(text.slice(at, at + end!.index));
    at += end!.index + 1;
    options.push({ section: inSection, name, value: readValue() });
  };

  while (at < text.length) {
    const char = text[at]!;
    if (char === '[') readHeader();
    else if (char === '#' || char === ';') skipComment();
    else if (section === undefined || isGoSpace(char)) {
      // Whatever stands before the first section is passed over, character by character.
      if (char === '\n') line++;
      at++;
    } else readOption(section);
  }
  return options;
}

/** fleet's normalised text: sections in first-seen order, one option a line, a blank line between sections. */
export function fleetSerialize(options: readonly FleetOption[]): string {
  let text = '';
  let section: string | undefined;
  for (const option of groupBySection(options)) {
    if (option.section !== section) {
      text += `${section === undefined ? '' : '\n'}[${option.section}]\n`;
      section = option.section;
    }
    text += `${option.name}=${option.value}\n`;
  }
  return text;
}

/** Lower-case hex SHA-1 of the normalised text. */
export const fleetHashOfOptions = (options: readonly FleetOption[]): string =>
  createHash('sha1').update(fleetSerialize(options)).digest('hex');

/**
 * The options that fleet shows for a unit with this text. A text that only systemd can read (a line of 2048 bytes, comments inside a
 * continuation) could not be had in fleet: its options are what systemd reads. Undefined when nobody can read it.
 */
export function shownOptions(text: string): FleetOption[] | undefined {
  for (const read of [fleetOptions, (content: string) => parseUnitFile(content).options]) {
    try {
      return read(text).map(({ name, section, value }) => ({ name, section, value }));
    } catch (error) {
      if (!(error instanceof UnitFileError)) throw error;
    }
  }
  return undefined;
}

/** The hash that fleet shows for a unit with this text: that of its options, or of the text itself when nobody can read it. */
export function fleetHash(text: string): string {
  const options = shownOptions(text);
  return options === undefined ? createHash('sha1').update(text).digest('hex') : fleetHashOfOptions(options);
}

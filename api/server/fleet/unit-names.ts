/** What fleet said about a name that no unit can have, word for word and in its order; then what this program is stricter about. */
import { unitNameProblem, unitTypes } from '../../resources/unit-name.js';

const maxFleetNameLength = 256;
const templateTypes: readonly string[] = ['path', 'service', 'socket', 'target', 'timer'];

/** Undefined when nothing is wrong with the name. */
export function fleetNameProblem(name: string): string | undefined {
  if (name.length === 0) return 'unit name cannot be empty';
  if (Buffer.byteLength(name) > maxFleetNameLength) return `unit name exceeds maximum length (${maxFleetNameLength})`;
  const dot = name.lastIndexOf('.');
  if (dot < 0) return 'unit name must contain "."';
  if (dot === name.length - 1) return 'unit name cannot end in "."';
  const suffix = name.slice(dot + 1);
  const stem = name.slice(0, dot);
  // fleet's snapshot, busname and scope are not among our types: systemd makes none of them from a file.
  if (!(unitTypes as readonly string[]).includes(suffix)) return `invalid unit type: ${JSON.stringify(suffix)}`;
  if (stem.includes('@') && !templateTypes.includes(suffix)) return `invalid unit type for template: ${JSON.stringify(suffix)}`;
  const wrong = /[^0-9A-Za-z:\-_.\\@]/u.exec(stem)?.[0];
  if (wrong !== undefined) return `invalid character ${goQuoted(wrong)} in unit name`;
  if (name.startsWith('@')) return 'unit name cannot start in "@"';
  return unitNameProblem(name);
}

const named: Readonly<Record<string, string>> = {
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  "'": "\\'",
};

/** A character as Go's %q writes it. */
function goQuoted(char: string): string {
  const code = char.codePointAt(0)!;
  const written = named[char] ?? (code < 0x20 || code === 0x7f ? `\\x${code.toString(16).padStart(2, '0')}` : char);
  return `'${written}'`;
}

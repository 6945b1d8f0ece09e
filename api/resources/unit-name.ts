/**
 * Names of systemd units: what is accepted, in fleet's error texts, and what a name is made of. A name is also a file name, an etcd key
 * and an argument of systemctl, so it is stricter than systemd where a name could be mistaken for a path or an option.
 */
import { nearest } from './suggest.js';

/**
 * The types that we run. Not among them: scope (made by programs, never from a file) and fleet's snapshot and busname (gone from systemd).
 */
export const unitTypes = ['service', 'socket', 'timer', 'path', 'mount', 'automount', 'swap', 'device', 'target', 'slice'] as const;
export type UnitType = (typeof unitTypes)[number];

/** Types of which systemd allows templates. */
export const templateTypes: readonly UnitType[] = ['service', 'socket', 'timer', 'path', 'target'];

/** systemd's UNIT_NAME_MAX without the closing NUL, and the longest file name that Linux file systems take. */
export const maxUnitNameLength = 255;

export interface UnitNameParts {
  /** The whole name: `redis@1.service`. */
  readonly name: string;
  readonly type: UnitType;
  /** Without the type: `redis@1`. */
  readonly stem: string;
  /** Before the first `@`, or the stem when there is none: `redis`. */
  readonly prefix: string;
  /** Between `@` and the type: `1`; '' for a template; absent without `@`. */
  readonly instance?: string;
}

const isUnitType = (word: string): word is UnitType => (unitTypes as readonly string[]).includes(word);

/** What is wrong with the name, in fleet's words where fleet has them; undefined when nothing is. */
export function unitNameProblem(name: string): string | undefined {
  if (name.length === 0) return 'unit name cannot be empty';
  if (Buffer.byteLength(name) > maxUnitNameLength) return `unit name exceeds maximum length (${maxUnitNameLength})`;
  const dot = name.lastIndexOf('.');
  if (dot < 0) return `unit name must contain ".": it ends in its type, as in ${JSON.stringify(`${name}.service`)}`;
  if (dot === name.length - 1) return 'unit name cannot end in "."';
  const suffix = name.slice(dot + 1);
  const stem = name.slice(0, dot);
  const wrong = /[^0-9A-Za-z:\-_.\\@]/u.exec(stem)?.[0];
  if (wrong !== undefined) return `invalid character ${quoteChar(wrong)} in unit name`;
  if (!isUnitType(suffix)) {
    const near = nearest(suffix, unitTypes);
    return `invalid unit type: ${JSON.stringify(suffix)}; ${near === undefined ? `expected one of ${unitTypes.join(', ')}` : `did you mean "${stem}.${near}"?`}`;
  }
  if (name.startsWith('@')) return 'unit name cannot start in "@"';
  if (name.startsWith('.')) return 'unit name cannot start in "."';
  if (name.startsWith('-')) return 'unit name cannot start in "-"';
  if (stem.includes('@') && !templateTypes.includes(suffix)) return `invalid unit type for template: ${JSON.stringify(suffix)}`;
  if (suffix === 'slice' && (stem.includes('--') || stem.endsWith('-'))) {
    return 'invalid slice name: each part between dashes names a parent slice, so none may be empty';
  }
  return undefined;
}

function quoteChar(char: string): string {
  const code = char.codePointAt(0)!;
  return code < 0x20 || code === 0x7f ? `'\\x${code.toString(16).padStart(2, '0')}'` : `'${char}'`;
}

/** The parts of a valid name; undefined when the name is not valid. */
export function parseUnitName(name: string): UnitNameParts | undefined {
  return unitNameProblem(name) === undefined ? splitUnitName(name) : undefined;
}

/** The parts of a name that was validated before; of any other text, something harmless. */
export function splitUnitName(name: string): UnitNameParts {
  const dot = name.lastIndexOf('.');
  const stem = dot < 0 ? name : name.slice(0, dot);
  const suffix = dot < 0 ? '' : name.slice(dot + 1);
  const at = stem.indexOf('@');
  return {
    name,
    type: isUnitType(suffix) ? suffix : 'service',
    stem,
    prefix: at < 0 ? stem : stem.slice(0, at),
    ...(at < 0 ? {} : { instance: stem.slice(at + 1) }),
  };
}

/** `x@.service` */
export const isTemplateName = (name: string): boolean => splitUnitName(name).instance === '';

/** `x@1.service` */
export const isInstanceName = (name: string): boolean => Boolean(splitUnitName(name).instance);

/** `x@.service` for `x@1.service`; undefined when the name is not an instance's. */
export function templateNameOf(name: string): string | undefined {
  const { prefix, instance } = splitUnitName(name);
  if (instance === undefined || instance === '') return undefined;
  return `${prefix}@${name.slice(name.lastIndexOf('.'))}`;
}

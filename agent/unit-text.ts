/** A unit file as the agent writes it: the user's text, verbatim, below one comment line that says whose it is. */
import { createHash } from 'node:crypto';
import { lastValueOf, parseUnitFile, type UnitFile, UnitFileError, valuesOf } from '../api/resources/unit-file/parse.js';
import { restartText } from '../api/resources/unit-file/print.js';
import { installOf } from '../api/resources/unit-file/sections.js';
import { splitUnitName, unitNameProblem } from '../api/resources/unit-name.js';

/** A unit file of ours. */
export interface OwnFile {
  /** uid of the Unit that it was written for. */
  readonly uid: string;
  /** sha256 of `text`. */
  readonly textHash: string;
  /** The user's text, without the marker line. */
  readonly text: string;
}

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A running unit is restarted only when this differs from what it was started with (SEMANTICS 12). */
export const restartHash = (text: string): string => sha256(restartText(text));

/** How many lines of ours precede the user's text in a file. */
export const markerLines = 1;
const marker = /^# managed by flotilla: uid=([A-Za-z0-9-]{1,64}) hash=([0-9a-f]{64})\n/;

export const renderOwnFile = ({ uid, textHash, text }: OwnFile): string => `# managed by flotilla: uid=${uid} hash=${textHash}\n${text}`;

/**
 * Undefined when the content is not marked as ours. `textHash` is taken from the text itself: a file that was edited by hand is still
 * ours, and differs from what was wanted.
 */
export function parseOwnFile(content: string): OwnFile | undefined {
  const found = marker.exec(content);
  if (!found) return undefined;
  const text = content.slice(found[0].length);
  return { uid: found[1]!, textHash: sha256(text), text };
}

/** A symbolic link that the unit's [Install] section asks for, relative to the unit directory. */
export interface InstallLink {
  /** `multi-user.target.wants/web.service`, or an alias: `www.service`. */
  readonly path: string;
  /** Set for an alias, which is a name of its own on the machine. */
  readonly alias?: string;
}

/** What `systemctl enable --runtime` would link. Names that systemd would refuse are left out: it refuses them too. */
export function installLinks(name: string, text: string): InstallLink[] {
  const file = parsed(text);
  const install = file && installOf(file);
  if (!install) return [];
  const target = (value: string) => expandInstallSpecifiers(name, value);
  const isOther = (other: string) => other !== name && unitNameProblem(other) === undefined;
  const dependents = (values: readonly string[], suffix: string): InstallLink[] =>
    values
      .map(target)
      .filter(isOther)
      .map((by) => ({ path: `${by}.${suffix}/${name}` }));
  return [
    ...dependents(install.wantedBy, 'wants'),
    ...dependents(install.requiredBy, 'requires'),
    ...install.alias
      .map(target)
      .filter((alias) => isOther(alias) && splitUnitName(alias).type === splitUnitName(name).type)
      .map((alias) => ({ path: alias, alias })),
  ];
}

/** Type= as systemd.service(5) defaults it; systemd's own answer, when it was read, goes before this one. */
export function serviceType(name: string, text: string): string | undefined {
  if (!name.endsWith('.service')) return undefined;
  const file = parsed(text);
  if (!file) return undefined;
  const type = lastValueOf(file, 'Service', 'Type');
  if (type) return type;
  if (lastValueOf(file, 'Service', 'BusName')) return 'dbus';
  return valuesOf(file, 'Service', 'ExecStart').length > 0 ? 'simple' : 'oneshot';
}

/** A file that cannot be parsed tells nothing: systemd reads what it can of it, and we do not guess what that would be. */
function parsed(text: string): UnitFile | undefined {
  try {
    return parseUnitFile(text);
  } catch (error) {
    if (error instanceof UnitFileError) return undefined;
    throw error;
  }
}

/** The specifiers of systemd.unit(5) that a name alone answers. */
function expandInstallSpecifiers(name: string, value: string): string {
  const { stem, prefix, instance = '' } = splitUnitName(name);
  const values: Readonly<Record<string, string>> = {
    n: name,
    N: stem,
    p: prefix,
    i: instance,
    j: prefix.slice(prefix.lastIndexOf('-') + 1),
    '%': '%',
  };
  return value.replace(/%([nNpij%])/g, (_, letter: string) => values[letter]!);
}

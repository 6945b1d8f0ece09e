/** Which sections a unit of a type can have, and its [Install] section. */
import { nearest } from '../suggest.js';
import type { UnitType } from '../unit-name.js';
import { type LineProblem, type UnitFile, valuesOf } from './parse.js';

/** The section that only units of this type have; targets and devices have none. */
export const ownSection: Readonly<Record<UnitType, string | undefined>> = {
  service: 'Service',
  socket: 'Socket',
  timer: 'Timer',
  path: 'Path',
  mount: 'Mount',
  automount: 'Automount',
  swap: 'Swap',
  slice: 'Slice',
  device: undefined,
  target: undefined,
};

/** Sections of placement options, which systemd ignores and we do not. */
export const placementSections = ['X-Fleet', 'X-Flotilla'] as const;

export const sectionsOf = (type: UnitType): string[] => ['Unit', ...(ownSection[type] === undefined ? [] : [ownSection[type]]), 'Install'];

/**
 * Sections that systemd would drop with a warning: unknown ones, and those of another type. `[X-…]` sections are for everybody's own
 * use, but one that is nearly `[X-Fleet]` was meant to be it, and ignoring it would let the unit run anywhere.
 */
export function sectionProblems(file: UnitFile, type: UnitType): LineProblem[] {
  const known = [...sectionsOf(type), ...placementSections];
  const problems: LineProblem[] = [];
  for (const { name, line } of file.sections) {
    if (known.includes(name)) continue;
    if (name.startsWith('X-')) {
      const near = nearest(name, placementSections);
      if (near !== undefined) problems.push({ line, message: `unknown section [${name.slice(0, 64)}]; did you mean [${near}]?` });
      continue;
    }
    const owner = Object.entries(ownSection).find(([, section]) => section === name)?.[0];
    const near = nearest(name, known);
    const unknown = `unknown section [${name.slice(0, 64)}]`;
    if (owner !== undefined) problems.push({ line, message: `section [${name}] belongs in a .${owner}, not in a .${type}` });
    else if (near !== undefined) problems.push({ line, message: `${unknown}; did you mean [${near}]?` });
    else problems.push({ line, message: `${unknown}; a .${type} has ${known.map((word) => `[${word}]`).join(', ')}` });
  }
  return problems;
}

/** What `systemctl enable` would act on; each list without duplicates. */
export interface InstallSection {
  readonly wantedBy: readonly string[];
  readonly requiredBy: readonly string[];
  readonly alias: readonly string[];
  readonly also: readonly string[];
  readonly defaultInstance?: string;
}

/** The [Install] section; undefined when it has no option that enables anything. */
export function installOf(file: UnitFile): InstallSection | undefined {
  const words = (name: string): string[] => [
    ...new Set(valuesOf(file, 'Install', name).flatMap((value) => value.split(/[ \t]+/).filter((word) => word !== ''))),
  ];
  const defaultInstance = valuesOf(file, 'Install', 'DefaultInstance').at(-1);
  const install = { wantedBy: words('WantedBy'), requiredBy: words('RequiredBy'), alias: words('Alias'), also: words('Also') };
  if (Object.values(install).every((list) => list.length === 0)) return undefined;
  return { ...install, ...(defaultInstance === undefined ? {} : { defaultInstance }) };
}

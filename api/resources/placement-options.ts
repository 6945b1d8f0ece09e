/** The placement options of a unit file: `[X-Fleet]` as fleet reads it, `[X-Flotilla]` the same without the names fleet deprecated. */

import { nearest } from './suggest.js';
import type { Placement } from './unit.js';
import type { UnitFile, UnitOption } from './unit-file/parse.js';
import { placementSections } from './unit-file/sections.js';

export type PlacementOption = 'MachineID' | 'MachineOf' | 'MachineMetadata' | 'Conflicts' | 'Replaces' | 'Global';

interface OptionRules {
  /** The same option in `spec.placement`. */
  readonly field: keyof Placement;
  /** Names that fleet deprecated, still honoured in [X-Fleet]. */
  readonly deprecated: readonly string[];
  /** Whether one value holds several, separated by white space. */
  readonly splits: boolean;
}

export const placementOptions: Readonly<Record<PlacementOption, OptionRules>> = {
  MachineID: { field: 'machineID', deprecated: ['X-ConditionMachineID', 'X-ConditionMachineBootID'], splits: false },
  MachineOf: { field: 'machineOf', deprecated: ['X-ConditionMachineOf'], splits: false },
  MachineMetadata: { field: 'machineMetadata', deprecated: ['X-ConditionMachineMetadata'], splits: false },
  Conflicts: { field: 'conflicts', deprecated: ['X-Conflicts'], splits: true },
  Replaces: { field: 'replaces', deprecated: [], splits: false },
  Global: { field: 'global', deprecated: [], splits: false },
};

export interface FileValue {
  readonly section: string;
  /** The name as written. */
  readonly name: string;
  readonly value: string;
  readonly line: number;
}

export interface FilePlacement {
  /** Values of each option that the file names, deprecated names first, as fleet orders them. */
  readonly values: ReadonlyMap<PlacementOption, readonly FileValue[]>;
  readonly problems: readonly { readonly line: number; readonly message: string }[];
}

/**
 * A value that starts and ends with `"` holds several, split at spaces outside the quotes; any other is one value. Quotes go away.
 */
export function splitMultiValue(value: string): string[] {
  if (value.length < 2 || !value.startsWith('"') || !value.endsWith('"')) return [value];
  const values: string[] = [];
  let current = '';
  let quoted = false;
  for (const char of value) {
    if (char === '"') quoted = !quoted;
    else if (!quoted && (char === ' ' || char === '\t')) {
      values.push(current);
      current = '';
    } else current += char;
  }
  values.push(current);
  return values.filter((item) => item !== '');
}

export function readFilePlacement(file: UnitFile): FilePlacement {
  const found = new Map<PlacementOption, { option: UnitOption; rank: number }[]>();
  const problems: { line: number; message: string }[] = [];
  for (const option of file.options) {
    if (!(placementSections as readonly string[]).includes(option.section)) continue;
    const meant = optionNamed(option);
    if (meant === undefined) {
      problems.push({ line: option.line, message: unknownOption(option) });
    } else if (option.value === '' || splitMultiValue(option.value).length === 0) {
      // fleet passes over an empty value, and the unit then runs anywhere: what a template without its variable looks like.
      problems.push({ line: option.line, message: `${option.name} in [${option.section}] has no value` });
    } else {
      const list = found.get(meant.option) ?? [];
      list.push({ option, rank: meant.rank });
      found.set(meant.option, list);
    }
  }

  const values = new Map<PlacementOption, readonly FileValue[]>();
  for (const [name, list] of found) {
    const other = list.find(({ option }) => option.section !== list[0]!.option.section)?.option;
    if (other !== undefined) {
      const message = `${name} is given in both [X-Fleet] and [X-Flotilla]; give it in one of them`;
      problems.push({ line: other.line, message });
    }
    values.set(
      name,
      list
        .toSorted((a, b) => a.rank - b.rank)
        .flatMap(({ option }) =>
          splitMultiValue(option.value)
            .flatMap((value) => (placementOptions[name].splits ? value.split(/\s+/).filter((word) => word !== '') : [value]))
            .map((value) => ({ section: option.section, name: option.name, value, line: option.line })),
        ),
    );
  }
  return { values, problems };
}

/** Which option a name stands for, and its place in fleet's order of names. Names are case-sensitive. */
function optionNamed({ section, name }: UnitOption): { option: PlacementOption; rank: number } | undefined {
  for (const [option, { deprecated }] of Object.entries(placementOptions) as [PlacementOption, OptionRules][]) {
    // fleet takes the modern MachineID before its old names, and appends modern lists to the old ones.
    const modern = option === 'MachineID' ? -1 : deprecated.length;
    if (name === option) return { option, rank: modern };
    const rank = section === 'X-Fleet' ? deprecated.indexOf(name) : -1;
    if (rank >= 0) return { option, rank };
  }
  return undefined;
}

function unknownOption({ section, name }: UnitOption): string {
  const names = Object.keys(placementOptions);
  const old = Object.entries(placementOptions).find(([, { deprecated }]) => deprecated.includes(name))?.[0];
  const near = old ?? nearest(name, names);
  const known = near === undefined ? `; expected one of ${names.join(', ')}` : `; did you mean "${near}"?`;
  return `unknown option ${JSON.stringify(name.slice(0, 64))} in [${section}]${known}`;
}

/** Unit files from parsed options, and the text by which a restart is decided. */
import { endsInBackslash, parseUnitFile, type UnitFile, UnitFileError } from './parse.js';

type Option = Pick<UnitFile['options'][number], 'section' | 'name' | 'value'>;

/** One header per run of options of the same section, one option a line: parsing it gives the same options in the same order. */
export function printUnitFile(options: readonly Option[]): string {
  const lines: string[] = [];
  let section: string | undefined;
  for (const option of options) {
    if (option.section !== section) {
      if (section !== undefined) lines.push('');
      section = option.section;
      lines.push(`[${section}]`);
    }
    // A space after a last backslash keeps it part of the value: systemd joins lines only when the backslash is the very last character.
    lines.push(`${option.name}=${option.value}${endsInBackslash(option.value) ? ' ' : ''}`);
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** Options grouped by section, sections in the order of their first appearance. systemd merges repeated sections the same way. */
export function groupBySection<T extends Option>(options: readonly T[]): T[] {
  const groups = new Map<string, T[]>();
  for (const option of options) {
    const group = groups.get(option.section);
    if (group === undefined) groups.set(option.section, [option]);
    else group.push(option);
  }
  return [...groups.values()].flat();
}

/**
 * What of a unit's text its process was started with: comments, layout and `[X-*]` sections left out. A running unit is restarted only
 * when this differs (SEMANTICS 12). A text that cannot be parsed stands for itself, so that any change of it counts.
 */
export function restartText(text: string): string {
  try {
    const { options } = parseUnitFile(text);
    return printUnitFile(groupBySection(options.filter(({ section }) => !section.startsWith('X-'))));
  } catch (error) {
    if (error instanceof UnitFileError) return text;
    throw error;
  }
}

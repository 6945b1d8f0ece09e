/** A unit's options, as fleet's API carries them, to a unit file; a file's options are `shownOptions`. */
import { StatusError } from '../../resources/errors.js';
import { type FleetOption, fleetOptions } from '../../resources/unit-file/fleet-hash.js';
import { parseUnitFile, UnitFileError } from '../../resources/unit-file/parse.js';
import { groupBySection, printUnitFile } from '../../resources/unit-file/print.js';

/**
 * The unit file of these options: grouped by section as fleet stores it, in order, continuations as they are. What would read back as
 * anything else, to fleet or to systemd, is refused: a value that ends its line could smuggle in an option or a section.
 *
 * Throws BadRequest.
 */
export function textOfOptions(options: readonly FleetOption[]): string {
  const wanted = groupBySection(options);
  const text = printUnitFile(wanted);
  // A line that is too long for fleet is none for systemd, so what systemd reads decides then.
  const differs = firstDifference(wanted, readBy(fleetOptions, text)) ?? firstDifference(wanted, readBy(fileOptions, text), false);
  if (differs === undefined) return text;
  const { section, name } = differs;
  throw new StatusError(
    'BadRequest',
    `option ${JSON.stringify(name.slice(0, 64))} in section ${JSON.stringify(section.slice(0, 64))} cannot be written as one Name=value of a unit file`,
  );
}

const fileOptions = (text: string): readonly FleetOption[] => parseUnitFile(text).options;

/** Undefined when it cannot be read: the object door says line by line what is wrong with a text. */
function readBy(read: (text: string) => readonly FleetOption[], text: string): readonly FleetOption[] | undefined {
  try {
    return read(text);
  } catch (error) {
    if (error instanceof UnitFileError) return undefined;
    throw error;
  }
}

/** White space around a value is lost in every reading. A continuation reads differently in systemd, which joins it: then names must do. */
function firstDifference(wanted: readonly FleetOption[], read: readonly FleetOption[] | undefined, values = true): FleetOption | undefined {
  if (read === undefined) return undefined;
  const index = wanted.findIndex(({ section, name, value }, at) => {
    const found = read[at];
    return found?.section !== section || found.name !== name || (values && found.value.trim() !== value.trim());
  });
  if (index >= 0) return wanted[index];
  return read.length > wanted.length ? wanted.at(-1) : undefined;
}

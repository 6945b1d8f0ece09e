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
  // Who cannot read it at all does not decide: a line that is too long for fleet is none for systemd.
  const index =
    differs(wanted, readBy(fleetOptions, text)) ?? differs(wanted.map(asJoined), readBy(fileOptions, text)) ?? brokenValue(wanted);
  if (index === undefined) return text;
  const { section, name } = wanted[index]!;
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

/** Index of the first value with a line break that no backslash asks for. */
function brokenValue(options: readonly FleetOption[]): number | undefined {
  const index = options.findIndex(({ value }) => /(?:^|[^\\])[\n\r]/.test(value));
  return index < 0 ? undefined : index;
}

/** systemd puts a continuation into one line; fleet keeps it, and takes an escaped backslash at the end of a line for one, too. */
const asJoined = (option: FleetOption): FleetOption => ({
  ...option,
  value: option.value.replace(/(\\+)\n/g, (both, backslashes: string) =>
    backslashes.length % 2 === 1 ? `${backslashes.slice(1)} ` : both,
  ),
});

/** Index of the first option that was read as something else; white space around a value is lost in every reading. */
function differs(wanted: readonly FleetOption[], read: readonly FleetOption[] | undefined): number | undefined {
  if (read === undefined) return undefined;
  const index = wanted.findIndex(({ section, name, value }, at) => {
    const found = read[at];
    return found?.section !== section || found.name !== name || found.value.trim() !== value.trim();
  });
  if (index >= 0) return index;
  return read.length > wanted.length ? wanted.length - 1 : undefined;
}

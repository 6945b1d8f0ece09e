/** Structured sections to a unit file. What is not one plain line is refused, so no value can smuggle in another option or section. */
import type { FieldError } from '../errors.js';
import { fieldPath } from '../field-path.js';
import { parseUnitFile, UnitFileError } from './parse.js';
import { printUnitFile } from './print.js';

export type Sections = Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;

/** Sections that no unit file can express; fields are paths below `spec.sections`. */
export class RenderError extends Error {
  override readonly name = 'RenderError';

  constructor(readonly problems: readonly FieldError[]) {
    super(problems.map(({ field, message }) => `${field}: ${message}`).join('; '));
  }
}

/** What keeps a text from being the value of an option; undefined when nothing does. */
export function optionValueProblem(value: string): string | undefined {
  if (/[\n\r]/.test(value)) return 'a value is one line: use a list to repeat the option';
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(value)) return 'a value cannot contain control characters';
  if (/[\ud800-\udfff]/u.test(value)) return 'not valid Unicode';
  if (/^[ \t]|[ \t]$/.test(value)) return 'a value cannot begin or end in white space, which systemd would drop';
  if (value.endsWith('\\')) return 'a value cannot end in a backslash, which would join the next line to it';
  return undefined;
}

/** Makes text stand for itself where systemd would expand specifiers (`%`) and variables (`$`). For values that are not the user's own. */
export const escapeLiteral = (text: string): string => text.replaceAll('%', '%%').replaceAll('$', '$$$$');

/**
 * The unit file of `spec.sections`, in the order given; specifiers and variables in values mean what they mean in a file. A list repeats
 * the option, '' resets it.
 * @throws RenderError
 */
export function renderSections(sections: Sections): string {
  const options: { section: string; name: string; value: string }[] = [];
  const problems: FieldError[] = [];
  for (const [section, entries] of Object.entries(sections)) {
    if (!/^[A-Za-z][A-Za-z0-9-]*$/.test(section)) {
      problems.push({ field: fieldPath(['spec', 'sections', section]), message: 'not a section name; expected one such as Service' });
    }
    for (const [name, value] of Object.entries(entries)) {
      if (!/^[A-Za-z][A-Za-z0-9_-]*$/.test(name)) {
        problems.push({
          field: fieldPath(['spec', 'sections', section, name]),
          message: 'not an option name; expected one such as ExecStart',
        });
      }
      const list = typeof value === 'string' ? [value] : value;
      for (const [index, item] of list.entries()) {
        const problem = optionValueProblem(item);
        const path = typeof value === 'string' ? [section, name] : [section, name, index];
        if (problem !== undefined) problems.push({ field: fieldPath(['spec', 'sections', ...path]), message: problem });
        options.push({ section, name, value: item });
      }
    }
  }
  if (problems.length > 0) throw new RenderError(problems.slice(0, 20));

  const text = printUnitFile(options);
  // The proof that the rules above are enough: what systemd will read is what was meant.
  if (!readsBackAs(text, options)) {
    throw new RenderError([{ field: 'spec.sections', message: 'cannot be written as a unit file of at most 64 KiB; use spec.content' }]);
  }
  return text;
}

function readsBackAs(text: string, options: readonly { section: string; name: string; value: string }[]): boolean {
  try {
    const read = parseUnitFile(text).options;
    return (
      read.length === options.length &&
      read.every(({ section, name, value }, index) => {
        const meant = options[index]!;
        return section === meant.section && name === meant.name && value === meant.value;
      })
    );
  } catch (error) {
    if (error instanceof UnitFileError) return false;
    throw error;
  }
}

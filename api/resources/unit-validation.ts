/** What the schema cannot say of a Unit: its name, its text, and where it is to run. */
import type { FieldError } from './errors.js';
import type { FlotillaObject } from './meta.js';
import { validateMeta } from './meta-validation.js';
import { resolvePlacement } from './placement.js';
import type { Unit, UnitSpec } from './unit.js';
import { directiveHints } from './unit-file/directives.js';
import { parseUnitFile, UnitFileError } from './unit-file/parse.js';
import { RenderError } from './unit-file/render.js';
import { sectionProblems } from './unit-file/sections.js';
import { isInstanceName, isTemplateName, splitUnitName, unitNameProblem } from './unit-name.js';
import { desiredStateOf, unitText } from './unit-text.js';

/** Errors shown for one object; a file of garbage has no more to say after these. */
const maxErrors = 20;

export function validateUnit(object: FlotillaObject): FieldError[] {
  const unit = object as Unit;
  const { metadata, spec = {} } = unit;
  const errors = validateMeta(metadata);

  const nameProblem = unitNameProblem(metadata.name);
  if (nameProblem !== undefined) errors.push({ field: 'metadata.name', message: nameProblem });

  if (isTemplateName(metadata.name) && desiredStateOf(unit) !== 'inactive') {
    errors.push({ field: 'spec.desiredState', message: `cannot activate template ${JSON.stringify(metadata.name)}` });
  }

  const text = readText(unit, spec, errors);
  if (nameProblem === undefined) errors.push(...resolvePlacement({ name: metadata.name, spec, text }).errors);
  return errors.slice(0, maxErrors);
}

/** The unit's text once it has proved to be a unit file; undefined when there is none, or none that can be read. */
function readText(unit: Unit, spec: UnitSpec, errors: FieldError[]): string | undefined {
  const { name } = unit.metadata;
  if (spec.content !== undefined && spec.sections !== undefined) {
    errors.push({
      field: 'spec.sections',
      message: 'cannot be given together with spec.content: both are the unit file',
      reason: 'FieldValueForbidden',
    });
    return undefined;
  }
  const field = spec.sections === undefined ? 'spec.content' : 'spec.sections';
  let text: string | undefined;
  try {
    text = unitText(unit);
    if (text === undefined) {
      if (!isInstanceName(name)) {
        const message = 'the unit file is missing; only an instance such as web@1.service can do without, and follows its template';
        errors.push({ field, message, reason: 'FieldValueRequired' });
      }
      return undefined;
    }
    const file = parseUnitFile(text);
    // systemd takes an empty file for a masked unit.
    if (file.options.length === 0)
      errors.push({ field, message: 'the unit file has no option; expected at least one Name=value in a section' });
    for (const { line, message } of sectionProblems(file, splitUnitName(name).type)) {
      errors.push({ field, message: spec.sections === undefined ? `line ${line}: ${message}` : message });
    }
    return text;
  } catch (error) {
    if (error instanceof UnitFileError)
      errors.push(...error.problems.map(({ line, message }) => ({ field, message: `line ${line}: ${message}` })));
    else if (error instanceof RenderError) errors.push(...error.problems);
    else throw error;
    return undefined;
  }
}

/** Misspelt directives, which systemd would ignore. The unit passed validation, so its text can be read. */
export function unitWarnings(object: FlotillaObject): string[] {
  const { spec } = object as Unit;
  const text = unitText({ spec: spec ?? {} });
  if (text === undefined) return [];
  const place = spec?.sections === undefined ? (line: number) => `spec.content: line ${line}: ` : () => 'spec.sections: ';
  return directiveHints(parseUnitFile(text))
    .slice(0, maxErrors)
    .map(({ line, message }) => place(line) + message);
}

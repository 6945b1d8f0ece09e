/** The text of a unit, and what of a unit is asked so often that it has a name. */
import { createHash } from 'node:crypto';
import type { DesiredState, Unit } from './unit.js';
import { renderSections } from './unit-file/render.js';
import { isTemplateName } from './unit-name.js';

export { isInstanceName, isTemplateName, templateNameOf } from './unit-name.js';

/**
 * The unit's own text: its content as it was written, or its sections as a file. Undefined for an instance that follows its template.
 * @throws RenderError when the sections were never validated and cannot be written as a file
 */
export function unitText({ spec }: Pick<Unit, 'spec'>): string | undefined {
  if (spec?.content !== undefined) return spec.content;
  return spec?.sections === undefined ? undefined : renderSections(spec.sections);
}

/** Lower-case hex sha256: the key of a text under /contents/. */
export const textHash = (text: string): string => createHash('sha256').update(text).digest('hex');

/** SEMANTICS 7, for an object that may not have had its defaults filled in. */
export const desiredStateOf = ({ metadata, spec }: Pick<Unit, 'metadata' | 'spec'>): DesiredState =>
  spec?.desiredState ?? (isTemplateName(metadata.name) ? 'inactive' : 'launched');

/** Conflicts between an applied configuration and other owners, in Kubernetes' exact words: scripts and people read them. */
import { StatusError } from '../../resources/errors.js';
import { type FieldSet, formatPath } from './field-set.js';
import type { Owner } from './managers.js';

export interface Conflict {
  readonly owner: Owner;
  /** The owner's fields that the configuration wants to be something else. */
  readonly fields: FieldSet;
}

/** `"bob"` for an applier, `"kubectl-edit" using flotilla.dev/v1` for whoever updated. */
function describeOwner(owner: Owner): string {
  const name = JSON.stringify(owner.manager) + (owner.subresource === '' ? '' : ` with subresource ${JSON.stringify(owner.subresource)}`);
  return owner.operation === 'Update' ? `${name} using ${owner.apiVersion}` : name;
}

export function conflictError(conflicts: readonly Conflict[]): StatusError {
  const byOwner = conflicts
    .map(({ owner, fields }) => ({ who: describeOwner(owner), paths: [...fields.paths()].map(formatPath) }))
    .sort((a, b) => (a.who < b.who ? -1 : a.who > b.who ? 1 : 0));
  const causes = byOwner.flatMap(({ who, paths }) =>
    paths.map((field) => ({ reason: 'FieldManagerConflict', message: `conflict with ${who}`, field })),
  );
  const message =
    causes.length === 1
      ? `Apply failed with 1 conflict: ${causes[0]!.message}: ${causes[0]!.field}`
      : `Apply failed with ${causes.length} conflicts: ${byOwner.map(({ who, paths }) => [`conflicts with ${who}:`, ...paths.map((path) => `- ${path}`)].join('\n')).join('\n')}`;
  return new StatusError('Conflict', message, { causes });
}

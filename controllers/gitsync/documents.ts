/** What a revision consists of. */
import type { Kind } from '../../api/resources/kinds.js';
import type { FlotillaObject } from '../../api/resources/meta.js';
import { kinds } from '../../api/resources/registry.js';

export interface SyncDocument {
  readonly kind: Kind;
  readonly object: FlotillaObject;
  /** Where it is described, from the root of spec.path. */
  readonly file: string;
}

/** As inventories and messages name an object: `unit/web.service`. */
export const objectId = (kind: Pick<Kind, 'singular'>, name: string): string => `${kind.singular}/${name}`;

export const documentId = ({ kind, object }: SyncDocument): string => objectId(kind, object.metadata.name);

/** A revision that cannot be applied as a whole, with everything that is wrong with it. */
export class BadRevision extends Error {
  override readonly name = 'BadRevision';

  constructor(readonly problems: readonly string[]) {
    super(summaryOf(problems));
  }
}

const maxShown = 5;

function summaryOf(problems: readonly string[]): string {
  const more = problems.length - maxShown;
  return problems.slice(0, maxShown).join('; ') + (more > 0 ? `; and ${more} more` : '');
}

/** The inverse of objectId; undefined for a kind that this version does not know. */
export function parseId(id: string): { readonly kind: Kind; readonly name: string } | undefined {
  const slash = id.indexOf('/');
  const kind = kinds.find(({ singular }) => singular === id.slice(0, slash));
  return kind === undefined ? undefined : { kind, name: id.slice(slash + 1) };
}

/** Kubernetes' words for what can go wrong with an object: clients and people know them (kubernetes-wire 1, 4). */
import { type FieldError, StatusError } from '../resources/errors.js';
import type { Kind } from '../resources/kinds.js';

/** `units.flotilla.dev` */
const resourceOf = ({ plural, group }: Kind): string => (group === '' ? plural : `${plural}.${group}`);
const detailsOf = ({ plural, group }: Kind, name: string) => ({ name, ...(group === '' ? {} : { group }), kind: plural });

export const notFound = (kind: Kind, name: string): StatusError =>
  new StatusError('NotFound', `${resourceOf(kind)} ${JSON.stringify(name)} not found`, detailsOf(kind, name));

/** `why` continues the sentence, when there is more to say than that it exists. */
export const alreadyExists = (kind: Kind, name: string, why = ''): StatusError =>
  new StatusError('AlreadyExists', `${resourceOf(kind)} ${JSON.stringify(name)} already exists${why}`, detailsOf(kind, name));

export const conflict = (kind: Kind, name: string, why: string): StatusError =>
  new StatusError(
    'Conflict',
    `Operation cannot be fulfilled on ${resourceOf(kind)} ${JSON.stringify(name)}: ${why}`,
    detailsOf(kind, name),
  );

export const modified = (kind: Kind, name: string): StatusError =>
  conflict(kind, name, 'the object has been modified; please apply your changes to the latest version and try again');

/** Fields named in one answer; a file of garbage has no more to say after these. */
const maxCauses = 20;

export function invalid(kind: Kind, name: string, errors: readonly FieldError[]): StatusError {
  const shown = errors.slice(0, maxCauses);
  const more = errors.length - shown.length;
  const texts = shown.map(({ field, message }) => `${field}: ${message}`).concat(more > 0 ? [`and ${more} more`] : []);
  const what = texts.length === 1 ? texts[0]! : `[${texts.join(', ')}]`;
  return new StatusError(
    'Invalid',
    `${kind.kind}${kind.group === '' ? '' : `.${kind.group}`} ${JSON.stringify(name)} is invalid: ${what}`,
    {
      name,
      ...(kind.group === '' ? {} : { group: kind.group }),
      kind: kind.kind,
      causes: shown.map(({ field, message, reason = 'FieldValueInvalid' }) => ({ reason, message, field })),
    },
  );
}

export const badRequest = (message: string): StatusError => new StatusError('BadRequest', message);

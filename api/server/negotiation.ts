/** Which form of an answer a client asks for, and which kind of patch it sends: the Accept and Content-Type headers. */
import { StatusError } from '../resources/errors.js';

export type IncludeObject = 'None' | 'Metadata' | 'Object';

/** Always JSON: the objects themselves, a Table for people, or their metadata alone. */
export type Representation =
  | { readonly form: 'object' }
  | { readonly form: 'table'; readonly version: 'v1' | 'v1beta1'; readonly includeObject: IncludeObject }
  | { readonly form: 'metadata'; readonly version: 'v1' | 'v1beta1' };

export interface MediaRange {
  /** Lower case, without parameters. */
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

/** A header longer than this is not read to its end: no client needs that many alternatives. */
const maxRanges = 32;

/** Media ranges, best first: by quality, then in the order in which the client names them. */
export function mediaRanges(header: string): MediaRange[] {
  const ranges: MediaRange[] = [];
  for (const part of header.split(',', maxRanges)) {
    const [type = '', ...rest] = part.split(';').map((piece) => piece.trim());
    if (type === '') continue;
    const parameters = new Map<string, string>();
    for (const parameter of rest) {
      const [name = '', value = ''] = parameter.split('=', 2);
      parameters.set(name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, '$1'));
    }
    const quality = Number(parameters.get('q') ?? 1);
    ranges.push({ type: type.toLowerCase(), parameters, quality: Number.isFinite(quality) ? quality : 0 });
  }
  return ranges.filter((range) => range.quality > 0).sort((a, b) => b.quality - a.quality);
}

const metaGroup = 'meta.k8s.io';
const isJson = (type: string): boolean => type === 'application/json' || type === 'application/*' || type === '*/*';

/**
 * The first form in the Accept header that we can give. Throws NotAcceptable (406) when there is none.
 * @param includeObject from the query, for the rows of a Table
 */
export function negotiate(accept: string | undefined, includeObject: IncludeObject): Representation {
  const wanted = accept === undefined || accept.trim() === '' ? '*/*' : accept;
  for (const { type, parameters } of mediaRanges(wanted)) {
    if (!isJson(type)) continue;
    const as = parameters.get('as');
    if (as === undefined) return { form: 'object' };
    const version = parameters.get('v');
    if (parameters.get('g') !== metaGroup || (version !== 'v1' && version !== 'v1beta1')) continue;
    if (as === 'Table') return { form: 'table', version, includeObject };
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') return { form: 'metadata', version };
  }
  throw new StatusError('NotAcceptable', 'only application/json can be answered, also as Table or PartialObjectMetadata of meta.k8s.io/v1');
}

const patchTypes = {
  'application/merge-patch+json': 'merge',
  // Our kinds have no strategic merge rules; kubectl's default patch type then means what a merge patch means.
  'application/strategic-merge-patch+json': 'merge',
  'application/json-patch+json': 'json',
  'application/apply-patch+yaml': 'apply',
} as const;

/** For the Accept-Patch header. */
export const acceptedPatches = Object.keys(patchTypes).join(', ');

/** The media type alone, without parameters; '' when there is none. */
export const mediaType = (contentType: string | undefined): string => (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';

/** Throws UnsupportedMediaType (415). */
export function patchType(contentType: string | undefined): 'merge' | 'json' | 'apply' {
  const type = mediaType(contentType);
  if (Object.hasOwn(patchTypes, type)) return patchTypes[type as keyof typeof patchTypes];
  throw new StatusError(
    'UnsupportedMediaType',
    `a PATCH must be one of ${acceptedPatches}, not ${type === '' ? 'without a Content-Type' : type}`,
  );
}

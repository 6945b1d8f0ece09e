/**
 * Secrets on their way in and out. What comes in is masked before anything is decided about it, so that ownership, comparisons, answers,
 * dry runs and errors only ever see masks; the clear values go beside it, straight to where they are sealed. What lies in the cache is
 * sealed. So a mask that a client sends back means the value that is there, and nothing that reads objects can show a value.
 */
import { StatusError } from '../resources/errors.js';
import type { FlotillaObject } from '../resources/meta.js';
import { isBase64, isMask, maskOf, type Secret } from '../resources/secret.js';
import { secretKind } from '../resources/secret-kind.js';
import { isObject } from './json.js';
import { lastAppliedAnnotation } from './ownership/last-applied.js';
import type { ClusterCache, StoredObject } from './ports.js';
import type { SealedValue, SecretBox } from './secret-box.js';
import { invalid } from './status-errors.js';
import type { WholeObject } from './storage.js';

export interface StoredSecret extends StoredObject {
  readonly type?: string;
  readonly data?: Readonly<Record<string, SealedValue>>;
}

/** Clear values of one request, by key. */
export type ClearValues = ReadonlyMap<string, Buffer>;

/** As it is shown: a mask in each value's place. */
export function masked<T extends StoredObject>(stored: T): T {
  const { data } = stored as StoredSecret;
  if (data === undefined) return stored;
  return { ...stored, data: Object.fromEntries(Object.entries(data).map(([key, { mask }]) => [key, maskOf(mask)])) };
}

/**
 * The object with a mask in each value's place, and the values. Whatever is no value is left where it is, for validation to name.
 * @throws StatusError Forbidden (403) when this server has no key to seal them with
 */
export function takeIn(box: SecretBox | undefined, object: WholeObject): { object: WholeObject; clear: ClearValues } {
  const { stringData, data, ...rest } = object as Secret;
  const clear = new Map<string, Buffer>();
  const masks: Record<string, unknown> = isObject(data) ? { ...data } : {};
  const take = (key: string, value: Buffer) => {
    if (box === undefined) throw noKey();
    clear.set(key, value);
    masks[key] = maskOf(box.mask({ secret: object.metadata.name, key }, value));
  };
  for (const [key, value] of Object.entries(isObject(data) ? data : {})) {
    if (typeof value === 'string' && !isMask(value) && isBase64(value)) take(key, Buffer.from(value, 'base64'));
  }
  const wrong: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(isObject(stringData) ? stringData : {})) {
    if (typeof value === 'string') take(key, Buffer.from(value));
    else wrong[key] = value;
  }
  const isWrong = stringData !== undefined && (!isObject(stringData) || Object.keys(wrong).length > 0);
  const given = data !== undefined || stringData !== undefined;
  const shown = {
    ...rest,
    ...(given ? { data: isObject(data) || data === undefined ? masks : data } : {}),
    ...(isWrong ? { stringData: isObject(stringData) ? wrong : stringData } : {}),
  };
  return { object: withoutLastApplied(shown as WholeObject), clear };
}

/**
 * What is stored: each value sealed, those that are the same as before as they lie there.
 * @throws StatusError Invalid (422) for a mask that stands for no value of this Secret
 */
export function sealed(
  box: SecretBox | undefined,
  shown: StoredObject,
  clear: ClearValues,
  before: StoredObject | undefined,
): StoredSecret {
  const { data, ...rest } = shown as Secret;
  if (data === undefined) return rest as StoredSecret;
  const { name } = shown.metadata;
  const known = (before as StoredSecret | undefined)?.data ?? {};
  const values = Object.entries(data).map(([key, mask]): [string, SealedValue] => {
    const there = known[key];
    if (there !== undefined && maskOf(there.mask) === mask) return [key, there];
    const value = clear.get(key);
    if (value !== undefined && box !== undefined) return [key, box.seal({ secret: name, key }, value)];
    const message = 'Invalid value: this is a mask, and not the one of the value that is there; give the value itself';
    throw invalid(secretKind, name, [{ field: `data[${key}]`, message }]);
  });
  return { ...rest, data: Object.fromEntries(values) } as StoredSecret;
}

/** The clear values of a Secret, for controllers; undefined when there is none of this name. Throws CannotOpen. */
export const openSecrets =
  (cache: Pick<ClusterCache, 'object'>, box: SecretBox | undefined) =>
  async (name: string): Promise<ReadonlyMap<string, Buffer> | undefined> => {
    const stored = cache.object('secrets', name)?.value as StoredSecret | undefined;
    if (stored === undefined) return undefined;
    if (box === undefined) throw noKey();
    return new Map(Object.entries(stored.data ?? {}).map(([key, value]) => [key, box.open({ secret: name, key }, value)]));
  };

const noKey = (): StatusError =>
  new StatusError('Forbidden', 'this server keeps no secrets: it was started without --secret-key-file, and stores none in the clear');

/** `kubectl apply` writes down the whole manifest that it was given, values and all. */
function withoutLastApplied<T extends FlotillaObject>(object: T): T {
  const { [lastAppliedAnnotation]: text, ...annotations } = object.metadata.annotations ?? {};
  if (text === undefined) return object;
  const kept = maskedManifest(text);
  return {
    ...object,
    metadata: { ...object.metadata, annotations: kept === undefined ? annotations : { ...annotations, [lastAppliedAnnotation]: kept } },
  };
}

/** undefined when it is no manifest: then nothing of it is kept. */
function maskedManifest(text: string): string | undefined {
  let manifest: unknown;
  try {
    manifest = JSON.parse(text);
  } catch {
    // Whatever it is, it may hold a value.
    return undefined;
  }
  if (!isObject(manifest)) return undefined;
  const hidden = (values: unknown) =>
    isObject(values) ? Object.fromEntries(Object.keys(values).map((key) => [key, maskOf('')])) : maskOf('');
  const fields = (['data', 'stringData'] as const).filter((field) => manifest[field] !== undefined);
  return `${JSON.stringify({ ...manifest, ...Object.fromEntries(fields.map((field) => [field, hidden(manifest[field])])) })}\n`;
}

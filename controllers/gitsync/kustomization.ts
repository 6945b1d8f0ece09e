/** `flotilla.yaml` or `kustomization.yaml`: the part of kustomize that needs no Kubernetes. Pure. */
import { z } from 'zod';
import { type JsonObject, unsafeJson } from '../../api/objects/json.js';
import { patched } from '../../api/objects/patch.js';
import { StatusError } from '../../api/resources/errors.js';
import { globMatch } from '../../api/resources/glob.js';
import type { FlotillaObject } from '../../api/resources/meta.js';
import { matches, parseLabelSelector } from '../../api/resources/selectors.js';
import { nearest } from '../../api/resources/suggest.js';
import { parseYaml, YamlError } from '../../api/resources/yaml.js';
import type { SyncDocument } from './documents.js';

/** In the order of preference; one per directory. */
export const kustomizationNames = ['flotilla.yaml', 'kustomization.yaml', 'kustomization.yml', 'Kustomization'] as const;

const Words = z.record(z.string().max(317), z.string().max(256));
const Patch = z.strictObject({
  path: z.string().max(1_024).optional(),
  patch: z.string().max(65_536).optional(),
  target: z
    .strictObject({
      group: z.string().optional(),
      version: z.string().optional(),
      kind: z.string().max(64).optional(),
      name: z.string().max(256).optional(),
      labelSelector: z.string().max(1_024).optional(),
    })
    .optional(),
});
export type KustomizationPatch = z.infer<typeof Patch>;

export const Kustomization = z.strictObject({
  apiVersion: z.string().optional(),
  kind: z.literal('Kustomization').optional(),
  metadata: z.unknown().optional(),
  resources: z.array(z.string().min(1).max(1_024)).max(2_000).default([]),
  namePrefix: z.string().max(64).optional(),
  commonLabels: Words.optional(),
  commonAnnotations: Words.optional(),
  labels: z
    .array(z.strictObject({ pairs: Words, includeSelectors: z.boolean().optional(), includeTemplates: z.boolean().optional() }))
    .max(50)
    .optional(),
  patches: z.array(Patch).max(200).optional(),
});
export type Kustomization = z.infer<typeof Kustomization>;

/** `flotilla.yaml` may also be a manifest of that name; a kustomization has no other kind than its own. */
export function isKustomization(text: string): boolean {
  try {
    const value = parseYaml(text);
    return typeof value === 'object' && value !== null && (!('kind' in value) || value.kind === 'Kustomization');
  } catch (error) {
    if (error instanceof YamlError) return true;
    throw error;
  }
}

/** The file's meaning, or in a sentence what is wrong with it. */
export function parseKustomization(text: string): Kustomization | { readonly problem: string } {
  let value: unknown;
  try {
    value = text.trim() === '' ? {} : parseYaml(text);
  } catch (error) {
    if (error instanceof YamlError) return { problem: error.message };
    throw error;
  }
  const parsed = Kustomization.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue?.code === 'unrecognized_keys') {
    const key = issue.keys[0] ?? '';
    const near = issue.path.length === 0 ? nearest(key, Object.keys(Kustomization.shape)) : undefined;
    const field = [...issue.path, key].join('.');
    const hint = near === undefined ? `; known are ${Object.keys(Kustomization.shape).join(', ')}` : `; did you mean "${near}"?`;
    return { problem: `unknown field "${field}"${issue.path.length === 0 ? hint : ''}` };
  }
  return { problem: `${issue?.path.join('.') || 'the file'}: ${issue?.message ?? 'not usable'}` };
}

/**
 * The documents as the kustomization changes them: patches first, then names and labels, as kustomize does. `readPatch` gives the text of a
 * patch's file. What goes wrong is told to `problem`.
 */
export function transform(
  documents: readonly SyncDocument[],
  kustomization: Kustomization,
  readPatch: (path: string) => string | undefined,
  problem: (message: string) => void,
): SyncDocument[] {
  let changed = [...documents];
  for (const [index, patch] of (kustomization.patches ?? []).entries()) {
    const where = `patches[${index}]`;
    const text = patch.patch ?? (patch.path === undefined ? undefined : readPatch(patch.path));
    if ((patch.patch === undefined) === (patch.path === undefined)) problem(`${where}: expected either patch or path`);
    else if (text === undefined) problem(`${where}: there is no file ${patch.path}`);
    else changed = applyPatch(changed, patch, text, (message) => problem(`${where}: ${message}`));
  }
  const labels = Object.assign({}, kustomization.commonLabels, ...(kustomization.labels ?? []).map(({ pairs }) => pairs)) as Record<
    string,
    string
  >;
  return changed.map((document) => named(document, kustomization.namePrefix ?? '', labels, kustomization.commonAnnotations ?? {}));
}

function named(document: SyncDocument, prefix: string, labels: Record<string, string>, annotations: Record<string, string>): SyncDocument {
  const { metadata } = document.object;
  if (prefix === '' && Object.keys(labels).length + Object.keys(annotations).length === 0) return document;
  // A Machine's name is its machine id, which no repository gives.
  const name = document.kind.plural === 'machines' ? metadata.name : prefix + metadata.name;
  const merged = {
    ...metadata,
    name,
    ...(Object.keys(labels).length === 0 ? {} : { labels: { ...metadata.labels, ...labels } }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations: { ...metadata.annotations, ...annotations } }),
  };
  return { ...document, object: { ...document.object, metadata: merged } };
}

function applyPatch(
  documents: SyncDocument[],
  { target }: KustomizationPatch,
  text: string,
  problem: (message: string) => void,
): SyncDocument[] {
  let body: unknown;
  try {
    body = parseYaml(text);
  } catch (error) {
    if (!(error instanceof YamlError)) throw error;
    problem(error.message);
    return documents;
  }
  const unsafe = unsafeJson(body);
  const matching = target === undefined ? identified(body) : targeted(target);
  if (unsafe !== undefined || 'problem' in matching) {
    problem(unsafe ?? ('problem' in matching ? matching.problem : ''));
    return documents;
  }
  let count = 0;
  const changed = documents.map((document) => {
    if (!matching.match(document)) return document;
    count++;
    try {
      const object = patched(
        document.object as unknown as JsonObject,
        Array.isArray(body) ? { type: 'json', body } : { type: 'merge', body },
      );
      return { ...document, object: keptIdentity(document.object, object) };
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      problem(`${document.kind.singular}/${document.object.metadata.name}: ${error.message}`);
      return document;
    }
  });
  if (count === 0) problem('matches no object of resources');
  return changed;
}

/** A patch changes an object; it does not make another one of it. */
const keptIdentity = (before: FlotillaObject, { apiVersion: _v, kind: _k, metadata, ...rest }: JsonObject): FlotillaObject => ({
  ...rest,
  apiVersion: before.apiVersion,
  kind: before.kind,
  metadata: { ...(typeof metadata === 'object' && metadata !== null ? metadata : {}), name: before.metadata.name },
});

type Matching = { readonly match: (document: SyncDocument) => boolean } | { readonly problem: string };

/** A merge patch without a target says itself whom it is about. */
function identified(body: unknown): Matching {
  const { kind, metadata } = (body ?? {}) as { kind?: unknown; metadata?: { name?: unknown } };
  if (typeof kind !== 'string' || typeof metadata?.name !== 'string')
    return { problem: 'needs a target, or kind and metadata.name of its own' };
  return { match: ({ object }) => object.kind === kind && object.metadata.name === metadata.name };
}

function targeted({ kind, name, labelSelector }: NonNullable<KustomizationPatch['target']>): Matching {
  try {
    const requirements = labelSelector === undefined ? [] : parseLabelSelector(labelSelector);
    return {
      match: ({ object }) =>
        (kind === undefined || object.kind === kind) &&
        (name === undefined || globMatch(name, object.metadata.name)) &&
        matches(requirements, object.metadata.labels),
    };
  } catch (error) {
    return { problem: `labelSelector: ${(error as Error).message}` };
  }
}

/** All kinds, and how a word that a person or a program used leads to one. */
import { assignmentKind } from './assignment-kind.js';
import { eventKind } from './event-kind.js';
import { gitSyncKind } from './gitsync-kind.js';
import type { Kind } from './kinds.js';
import { machineKind } from './machine-kind.js';
import { secretKind } from './secret-kind.js';
import { nearest } from './suggest.js';
import { unitKind } from './unit-kind.js';
import { unitSetKind } from './unitset-kind.js';

export const kinds: readonly Kind[] = [unitKind, unitSetKind, machineKind, gitSyncKind, secretKind, assignmentKind, eventKind];

/** Words that name several kinds, as `get all` does. */
const wordsOf = (kind: Kind): readonly string[] => [kind.plural, kind.singular, ...kind.shortNames];

const byPlural = new Map(kinds.map((kind) => [kind.plural, kind]));
const byWord = new Map(kinds.flatMap((kind) => wordsOf(kind).map((word) => [word, kind] as const)));

export const kindByPlural = (plural: string): Kind | undefined => byPlural.get(plural);

/** By kind, plural, singular or short name, with or without the group (`units.flotilla.dev`); case counts for nothing. */
export function kindByName(word: string): Kind | undefined {
  const lower = word.toLowerCase();
  const plain = byWord.get(lower);
  if (plain !== undefined) return plain;
  const dot = lower.indexOf('.');
  if (dot < 0) return undefined;
  const kind = byWord.get(lower.slice(0, dot));
  const rest = lower.slice(dot + 1);
  return kind !== undefined && kind.group !== '' && (rest === kind.group || rest === `${kind.version}.${kind.group}`) ? kind : undefined;
}

/** By what an object says of itself: `apiVersion` and `kind`, exactly. */
export function kindOf(object: { readonly apiVersion?: unknown; readonly kind?: unknown }): Kind | undefined {
  return kinds.find((kind) => kind.kind === object.kind && apiVersionOf(kind) === object.apiVersion);
}

export const apiVersionOf = ({ group, version }: Kind): string => (group === '' ? version : `${group}/${version}`);

/** The kind's word that is nearest to one that names none: for "did you mean". */
export const nearestKindWord = (word: string): string | undefined => nearest(word, byWord.keys());

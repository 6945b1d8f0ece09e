/**
 * What a revision asks of the cluster: which objects are applied, which are left to somebody else, which go, and whether so many may go
 * at once. Pure: documents, inventory and what lives in; decisions with their reasons out.
 */
import { isTemplateName } from '../../api/resources/unit-name.js';
import type { SyncDocument } from './documents.js';
import { documentId } from './documents.js';

/** An object of the cluster, as far as ownership is concerned. */
export interface LiveObject {
  /** The GitSync that its label names. */
  readonly owner: string | undefined;
  readonly isBeingDeleted: boolean;
}

export interface PlanInput {
  /** Name of the GitSync. */
  readonly name: string;
  /** Undefined: the path is not there. */
  readonly documents: readonly SyncDocument[] | undefined;
  /** What it made before, as `unit/web.service`. */
  readonly inventory: readonly string[];
  /** 'unreadable': something is stored there that nobody can read. */
  readonly live: (id: string) => LiveObject | 'unreadable' | undefined;
  /** Whether there is a GitSync of this name, by which a claim is kept. */
  readonly isGitSync: (name: string) => boolean;
  readonly prune: boolean;
  readonly maxDeletePercent: number;
  /** A human agreed to the deletions of this very revision. */
  readonly isConfirmed: boolean;
  /** While machines are missing nothing is pruned (SEMANTICS 22). */
  readonly isCautious: boolean;
}

export interface SyncPlan {
  /** Groups in the order in which they have to go: what others refer to comes first. */
  readonly apply: readonly (readonly SyncDocument[])[];
  /** Claimed by another GitSync, and left to it. */
  readonly conflicts: readonly { readonly id: string; readonly owner: string }[];
  /** Cannot be applied yet, in a sentence each. */
  readonly blocked: readonly { readonly id: string; readonly why: string }[];
  /** To delete, groups in order: what refers to others goes first. Empty when held. */
  readonly prune: readonly (readonly string[])[];
  /** Not in the repository any more and not to be deleted: to be let go of, without the label. */
  readonly release: readonly string[];
  /** Would be deleted, and are not. */
  readonly held: readonly string[];
  /** Why, in words that follow "N objects would be deleted". Undefined when nothing is held. */
  readonly heldBecause?: 'many' | 'empty' | 'caution';
  /** What it answers for once all this is done. */
  readonly inventory: readonly string[];
}

/** From this many deletions on they are counted in percent. */
export const manyDeletions = 3;

export function planSync(input: PlanInput): SyncPlan {
  const { name, documents = [], inventory, live, isGitSync } = input;
  const apply: SyncDocument[] = [];
  const conflicts: { id: string; owner: string }[] = [];
  const blocked: { id: string; why: string }[] = [];
  const kept = new Set<string>();
  for (const document of documents) {
    const id = documentId(document);
    const now = live(id);
    if (now === 'unreadable') blocked.push({ id, why: 'what is stored of it cannot be read' });
    else if (now?.owner !== undefined && now.owner !== name && isGitSync(now.owner)) {
      conflicts.push({ id, owner: now.owner });
      continue;
    } else if (now?.isBeingDeleted) blocked.push({ id, why: 'it is being deleted, and made anew once it is gone' });
    else apply.push(document);
    kept.add(id);
  }

  const described = new Set(documents.map(documentId));
  const leaving: string[] = [];
  const release: string[] = [];
  const unreadable: string[] = [];
  for (const id of inventory) {
    if (described.has(id)) continue;
    const now = live(id);
    if (now === 'unreadable') unreadable.push(id);
    // Whoever took the label off, or put another on, has taken the object over.
    else if (now === undefined || now.owner !== name || now.isBeingDeleted) continue;
    else if (input.prune && isPrunable(id, name)) leaving.push(id);
    else release.push(id);
  }

  const heldBecause = whyHeld(input, leaving.length);
  const held = heldBecause === undefined ? [] : leaving;
  return {
    apply: grouped(apply),
    conflicts,
    blocked,
    prune: heldBecause === undefined ? pruneGroups(leaving) : [],
    release,
    held,
    ...(heldBecause === undefined ? {} : { heldBecause }),
    inventory: [...kept, ...held, ...unreadable].sort(),
  };
}

/** The plan as it is once others turned out to have been faster: what they have got is not answered for. */
export function withConflicts(plan: SyncPlan, conflicts: SyncPlan['conflicts']): SyncPlan {
  if (conflicts.length === 0) return plan;
  const lost = new Set(conflicts.map(({ id }) => id));
  return { ...plan, conflicts: [...plan.conflicts, ...conflicts], inventory: plan.inventory.filter((id) => !lost.has(id)) };
}

/** A host does not vanish because a file did, and a GitSync that deletes itself would delete all that it made. */
const isPrunable = (id: string, name: string): boolean => !id.startsWith('machine/') && id !== `gitsync/${name}`;

function whyHeld(
  { documents, inventory, maxDeletePercent, isConfirmed, isCautious }: PlanInput,
  deletions: number,
): SyncPlan['heldBecause'] {
  if (deletions === 0) return undefined;
  if (isCautious) return 'caution';
  if (isConfirmed) return undefined;
  if (documents === undefined || documents.length === 0) return 'empty';
  return deletions >= manyDeletions && (100 * deletions) / inventory.length > maxDeletePercent ? 'many' : undefined;
}

/** Values that units read, templates that instances follow, then the rest; GitSyncs last, since they bring others. */
function rankOf({ kind, object }: SyncDocument): number {
  if (kind.plural === 'secrets' || kind.plural === 'configs') return 0;
  if (kind.plural === 'machines') return 1;
  if (kind.plural === 'gitsyncs') return 4;
  return kind.plural === 'units' && isTemplateName(object.metadata.name) ? 2 : 3;
}

function grouped(documents: readonly SyncDocument[]): SyncDocument[][] {
  const groups: SyncDocument[][] = [[], [], [], [], []];
  for (const document of documents) groups[rankOf(document)]!.push(document);
  return groups.filter((group) => group.length > 0);
}

/** What reads comes before what is read: the other way around. */
function pruneGroups(ids: readonly string[]): string[][] {
  const rank = (id: string) => (/^(?:secret|config)\//.test(id) ? 2 : isTemplateId(id) ? 1 : 0);
  return [0, 1, 2].map((wanted) => ids.filter((id) => rank(id) === wanted)).filter((group) => group.length > 0);
}

const isTemplateId = (id: string): boolean => id.startsWith('unit/') && isTemplateName(id.slice('unit/'.length));

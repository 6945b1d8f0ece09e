/**
 * What a set's units need so that they are as the set says. Pure: the set and what is there in, what to do out. It only ever acts on what it
 * sees: a name that is taken is left alone, and nothing is deleted but units of this very set whose number is above `replicas`.
 */
import { apiVersion, type OwnerReference } from '../../api/resources/meta.js';
import { replicasOf, templateHashAnnotation, type UnitSet, unitSetLabel } from '../../api/resources/unitset.js';
import { memberName } from '../../api/resources/unitset-names.js';

/** A Unit that the set owns. */
export interface Member {
  readonly name: string;
  readonly index: number;
  readonly uid: string;
  /** Of its own key, when it was seen to be the set's. */
  readonly modRevision: number;
  readonly deleting: boolean;
  /** The template that it was last made to follow. */
  readonly templateHash: string | undefined;
  /** Nobody has written it since the set made it as it should be. */
  readonly isVerified: boolean;
  /** What is asked of it now is so. */
  readonly isReady: boolean;
  /** The newest that is asked of it has been carried out. */
  readonly isUpToDate: boolean;
  /** Why it is not ready, as a sentence. */
  readonly trouble?: string | undefined;
}

/** A name that the set wants and cannot have: why, as the end of a sentence that begins with the name. */
export interface Taken {
  readonly why: string;
  /** It will be free by itself. */
  readonly isPassing: boolean;
}

export interface SetFacts {
  readonly set: UnitSet;
  /** Of the set's template, now. */
  readonly templateHash: string;
  readonly members: readonly Member[];
  readonly taken: ReadonlyMap<string, Taken>;
}

export interface SetPlan {
  /** Names of units to make. */
  readonly creates: readonly string[];
  readonly updates: readonly Member[];
  /** Highest number first. */
  readonly deletes: readonly Member[];
}

const nothing: SetPlan = { creates: [], updates: [], deletes: [] };

export function planSet({ set, templateHash, members, taken }: SetFacts): SetPlan {
  // What becomes of the units of a set that goes is its owner references' business (controllers/owners).
  if (set.metadata.deletionTimestamp) return nothing;
  const wanted = replicasOf(set);
  const existing = new Set(members.map(({ name }) => name));
  const creates: string[] = [];
  for (let index = 1; index <= wanted; index++) {
    const name = memberName(set.metadata.name, index);
    if (!existing.has(name) && !taken.has(name)) creates.push(name);
  }
  const staying = members.filter(({ deleting, index }) => !deleting && index <= wanted);
  return {
    creates,
    // All at once: a guarded rollout would let fewer through here.
    updates: staying.filter((member) => member.templateHash !== templateHash || !member.isVerified),
    deletes: members.filter(({ deleting, index }) => !deleting && index > wanted).sort((a, b) => b.index - a.index),
  };
}

/** What the set has to say of its unit with this name, for server-side apply: whatever else stands there is somebody else's. */
export function memberManifest({ metadata, spec }: UnitSet, name: string, templateHash: string) {
  const { template } = spec ?? {};
  const owner: OwnerReference = {
    apiVersion,
    kind: 'UnitSet',
    name: metadata.name,
    uid: metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
  return {
    apiVersion,
    kind: 'Unit',
    metadata: {
      name,
      labels: { ...template?.metadata?.labels, [unitSetLabel]: metadata.name },
      annotations: { ...template?.metadata?.annotations, [templateHashAnnotation]: templateHash },
      ownerReferences: [owner],
    },
    spec: template?.spec ?? {},
  };
}

/**
 * Machine metadata set by users becomes labels, by server-side apply with force: fleet's door owns them then, also where the agent had set
 * the same value, and a machine that registers again changes none of them (SEMANTICS 23). A key that is removed is named in an annotation,
 * or the agent's own settings would bring it back.
 */
import { ownerKey, readOwners } from '../../objects/ownership/managers.js';
import type { ClusterCache, Joined, ObjectDoor } from '../../objects/ports.js';
import { StatusError } from '../../resources/errors.js';
import { apiVersion } from '../../resources/meta.js';
import { removedLabels, removedLabelsAnnotation } from '../agents/registration.js';
import { respectGitSync } from './gitsync-owner.js';
import type { MetadataChanges } from './metadata-patch.js';
import { fleetManager } from './set-unit.js';

/** Races that one machine's change may lose before it gives up. */
const maxAttempts = 10;

export interface MetadataPorts {
  readonly cache: ClusterCache;
  readonly door: Pick<ObjectDoor, 'apply' | 'patch'>;
}

/** Machine by machine. One that has never joined gets its object when something is set, as fleet kept metadata for it. */
export async function writeMetadata(ports: MetadataPorts, changes: MetadataChanges): Promise<void> {
  for (const machine of changes.keys()) respectGitSync(ports.cache, ports.cache.joined('machines', machine));
  for (const [machine, ofMachine] of changes) {
    const set = [...ofMachine].filter((change): change is [string, string] => change[1] !== undefined);
    const removed = [...ofMachine.keys()].filter((key) => ofMachine.get(key) === undefined);
    if (removed.length > 0) await untilUnrivalled(() => removeLabels(ports, machine, removed));
    if (set.length > 0) await untilUnrivalled(() => setLabels(ports, machine, set));
  }
}

async function setLabels({ cache, door }: MetadataPorts, machine: string, set: readonly [string, string][]): Promise<void> {
  const live = cache.joined('machines', machine);
  // An apply takes back whatever it does not repeat.
  const labels = Object.fromEntries([...(live === undefined ? [] : ownLabels(live)), ...set]);
  const metadata = { name: machine, labels, ...(live && { resourceVersion: live.metadata.resourceVersion }) };
  await door.apply('machines', machine, { apiVersion, kind: 'Machine', metadata }, { manager: fleetManager, force: true });
}

/** Labels that this door has set, with the values that they have. */
function ownLabels({ metadata }: Joined): [string, string][] {
  const applied = readOwners(metadata.managedFields)?.get(ownerKey({ manager: fleetManager, operation: 'Apply', subresource: '' }));
  const members = applied?.fields.child('f:metadata').child('f:labels').members ?? new Set<string>();
  return Object.entries(metadata.labels ?? {}).filter(([key]) => members.has(`f:${key}`));
}

async function removeLabels({ cache, door }: MetadataPorts, machine: string, keys: readonly string[]): Promise<void> {
  const live = cache.joined('machines', machine);
  if (live === undefined) return;
  const removed = [...new Set([...removedLabels(live), ...keys])].sort();
  const metadata = {
    resourceVersion: live.metadata.resourceVersion,
    labels: Object.fromEntries(keys.map((key) => [key, null])),
    annotations: { [removedLabelsAnnotation]: removed.join(',') },
  };
  await door.patch('machines', machine, { type: 'merge', body: { metadata } }, { manager: fleetManager });
}

/** Again while other writers are faster. */
async function untilUnrivalled(write: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await write();
    } catch (error) {
      if (!(error instanceof StatusError && error.reason === 'Conflict') || attempt === maxAttempts) throw error;
    }
  }
}

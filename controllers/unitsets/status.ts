/** What is said of a set: how many of its units are there, ready and up to date, and why not all of them are. Pure. */
import type { Condition } from '../../api/resources/meta.js';
import { replicasOf, type UnitSet } from '../../api/resources/unitset.js';
import { memberName } from '../../api/resources/unitset-names.js';
import { condition } from '../sentences.js';
import type { Member, SetFacts } from './plan.js';

/** What the leader stores under `/conditions/unitsets/<name>`: the whole status. */
export interface UnitSetFragment {
  readonly observedGeneration: number;
  readonly replicas: number;
  readonly readyReplicas: number;
  readonly updatedReplicas: number;
  readonly selector: string;
  readonly conditions: readonly Condition[];
}

export interface StatusFacts extends SetFacts {
  /** Units that could not be made or changed, and why, in the door's own words. */
  readonly refused: ReadonlyMap<string, string>;
  readonly selector: string;
  readonly before: readonly Condition[] | undefined;
  /** ISO 8601. */
  readonly now: string;
}

type Said = Pick<Condition, 'status' | 'reason' | 'message'>;

/** Troubles that one message tells of. */
const maxTold = 3;

export function statusOf(facts: StatusFacts): UnitSetFragment {
  const { set, members, templateHash, selector, before, now } = facts;
  const generation = set.metadata.generation ?? 0;
  const wanted = replicasOf(set);
  const alive = members.filter(({ deleting }) => !deleting);
  const inRange = alive.filter(({ index }) => index <= wanted);
  const ready = inRange.filter(({ isReady }) => isReady);
  const updated = inRange.filter((member) => member.templateHash === templateHash && member.isUpToDate);
  const said = (type: string, verdict: Said) => condition({ type, ...verdict }, before, now, generation);
  return {
    observedGeneration: generation,
    replicas: alive.length,
    readyReplicas: ready.length,
    updatedReplicas: updated.length,
    selector,
    conditions: [
      said('Available', availability(facts, wanted, ready.length)),
      said('Progressing', progress(facts, wanted, alive, inRange, updated)),
    ],
  };
}

const units = (count: number): string => `${count} ${count === 1 ? 'unit' : 'units'}`;

function availability(facts: StatusFacts, wanted: number, ready: number): Said {
  if (facts.set.metadata.deletionTimestamp) return deleting(facts.set, facts.members);
  if (wanted === 0) return { status: 'True', reason: 'NoneWanted', message: 'no units are wanted' };
  const count = `${ready} of ${units(wanted)} ${ready === 1 ? 'is' : 'are'} ready`;
  if (ready >= wanted) return { status: 'True', reason: 'AllReady', message: count };
  return { status: 'False', reason: 'NotAllReady', message: told(count, troublesOf(facts, wanted)) };
}

const deleting = ({ metadata }: UnitSet, members: readonly Member[]): Said => {
  const { finalizers = [] } = metadata;
  const waits =
    finalizers.length === 0 ? '' : `, and waits for ${finalizers.map((name) => `finalizer ${JSON.stringify(name)}`).join(', ')}`;
  return { status: 'False', reason: 'Deleting', message: `the set is being deleted; ${units(members.length)} left${waits}` };
};

/** Why units are not ready, one sentence each, in the order of their numbers. */
function* troublesOf({ set, members, taken, refused }: StatusFacts, wanted: number): Generator<string> {
  const byIndex = new Map(members.map((member) => [member.index, member]));
  for (let index = 1; index <= wanted; index++) {
    const name = memberName(set.metadata.name, index);
    const member = byIndex.get(index);
    const why = taken.get(name)?.why ?? refused.get(name);
    if (why !== undefined) yield `${name} ${why}`;
    else if (member === undefined) yield `${name} is yet to be made`;
    else if (member.deleting) yield `${name} is being deleted, and made anew when it is gone`;
    else if (!member.isReady) yield `${name}: ${member.trouble ?? 'nobody has looked at it yet'}`;
  }
}

function told(count: string, troubles: Iterable<string>): string {
  const all = [...troubles].map((text) => text.replace(/\.$/, ''));
  const more = all.length - maxTold;
  return [count, ...all.slice(0, maxTold), ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

function progress(
  facts: StatusFacts,
  wanted: number,
  alive: readonly Member[],
  inRange: readonly Member[],
  updated: readonly Member[],
): Said {
  const { set, taken, refused } = facts;
  if (set.metadata.deletionTimestamp) return deleting(set, facts.members);
  const stuck = [...[...taken].filter(([, { isPassing }]) => !isPassing).map(([name, { why }]) => [name, why]), ...refused];
  if (stuck.length > 0) {
    const reason = refused.size > 0 ? 'Refused' : 'NameTaken';
    const message = told(
      `${units(stuck.length)} cannot be as the set says`,
      stuck.map(([name, why]) => `${name} ${why}`),
    );
    return { status: 'False', reason, message };
  }
  if (inRange.length < wanted) {
    return { status: 'True', reason: 'Scaling', message: `${inRange.length} of ${units(wanted)} exist${wanted === 1 ? 's' : ''}` };
  }
  if (facts.members.length > inRange.length) {
    return { status: 'True', reason: 'Scaling', message: `${units(facts.members.length - inRange.length)} too many, being removed` };
  }
  if (updated.length < alive.length) {
    const message = `${updated.length} of ${units(wanted)} ${updated.length === 1 ? 'has' : 'have'} carried out the newest template`;
    return { status: 'True', reason: 'Updating', message };
  }
  const message = wanted === 0 ? 'there are no units, as wanted' : `all ${units(wanted)} exist and have carried out the newest template`;
  return {
    status: 'True',
    reason: 'Complete',
    message: wanted === 1 ? 'its unit exists and has carried out the newest template' : message,
  };
}

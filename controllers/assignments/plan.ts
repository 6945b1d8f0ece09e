/**
 * What has to be written so that a unit's assignments follow the scheduler's verdict (SEMANTICS 8, 9, 20). Pure: facts in, one write out.
 *
 * An assignment, once marked `remove`, is never taken back: it goes when its agent says so, and a new one begins a new life. So whatever an
 * agent has stopped, or is stopping, is never mistaken for something that should run.
 */
import type { UnitFragment } from '../../api/objects/unit-fragment.js';
import { restartAskedFor } from '../../api/resources/annotations.js';
import type { AssignmentSpec } from '../../api/resources/assignment.js';
import { evictionReason } from '../../api/resources/eviction.js';
import type { ControllerEvent } from '../events.js';
import { shortId } from '../scheduler/match.js';
import type { Verdict } from '../scheduler/types.js';
import { condition, sentence } from '../sentences.js';
import { type CopyFacts, isGone, isOutOfReach } from './facts.js';
import type { UnitSource } from './source.js';

export interface Changes {
  readonly puts: readonly AssignmentSpec[];
  /** Assignments that go, each with its state. */
  readonly drops: readonly CopyFacts[];
  /** The leader's part of status, when it is to be put. */
  readonly fragment?: UnitFragment;
  /** The Unit itself goes: it was being deleted, and with this write nothing of it is left. */
  readonly deleteUnit: boolean;
  readonly events: readonly ControllerEvent[];
}

export interface UnitFacts {
  readonly name: string;
  /** Undefined when there is no such Unit: what is left of it has to go. */
  readonly source: UnitSource | undefined;
  readonly verdict: Verdict | undefined;
  readonly copies: readonly CopyFacts[];
  readonly fragment: UnitFragment | undefined;
  /** ISO 8601. */
  readonly now: string;
  /** Units follow this template, or depend on it and have not been told that it goes: it stays until then. */
  readonly isHeld?: boolean;
}

/** A unit that is not global. Undefined when nothing has to be written. */
export function planUnit(facts: UnitFacts): Changes | undefined {
  const { name, source, verdict, copies, now } = facts;
  const puts: AssignmentSpec[] = [];
  const drops: CopyFacts[] = [];
  const isEnding = source === undefined || source.planned.deleting;

  for (const copy of copies) {
    const { value } = copy.row;
    const isForeign = source !== undefined && value.unitUid !== source.uid;
    const leaves = value.remove ?? leavesBecause(copy, source, verdict, isForeign);
    if (leaves === undefined) {
      const kept = keptInStep(copy, source!, verdict);
      if (kept) puts.push(kept);
    } else if (isGone(copy) && value.remove !== undefined) drops.push(copy);
    else if (copy.health === 'removed' || ((isEnding || isForeign) && isOutOfReach(copy, source?.forced ?? false))) drops.push(copy);
    else if (value.remove === undefined) puts.push(marked(value, leaves, now));
  }
  const isKeyTaken = verdict?.go === 'place' && copies.some(({ machine }) => machine === verdict.machine);
  if (source?.text && verdict?.go === 'place' && !isKeyTaken) puts.push(newAssignment(source, verdict, now));

  const left = copies.length - drops.length;
  if (source?.planned.deleting && left === 0 && source.finalizers.length === 0 && !facts.isHeld) {
    const event = {
      about: { kind: 'Unit', name, uid: source.uid },
      type: 'Normal',
      reason: 'Removed',
      message: `Removed ${name}.`,
    } as const;
    return { puts: [], drops, deleteUnit: true, events: copies.length === 0 ? [] : [event] };
  }
  if (source === undefined) {
    return puts.length + drops.length === 0 ? undefined : { puts, drops, deleteUnit: false, events: [] };
  }
  if (!verdict) return undefined;
  const fragment = fragmentOf(facts, source, verdict, puts, drops);
  const isNews = fragment !== undefined && !sameFragment(fragment, facts.fragment);
  if (puts.length + drops.length === 0 && !isNews) return undefined;
  // A joined part changes only together with the conditions key (SEMANTICS 2), even if the leader has nothing new to say.
  return { puts, drops, fragment: fragment ?? facts.fragment ?? {}, deleteUnit: false, events: eventsOf(facts, source, verdict) };
}

/** Marked for removal. */
export const marked = (assignment: AssignmentSpec, why: string, now: string): AssignmentSpec => ({
  ...assignment,
  remove: why,
  removeAt: now,
});

function leavesBecause(
  copy: CopyFacts,
  source: UnitSource | undefined,
  verdict: Verdict | undefined,
  isForeign: boolean,
): string | undefined {
  if (source === undefined) return 'the unit does not exist any more';
  if (isForeign) return 'the unit was deleted and made anew';
  if (copy.health === 'removed') return 'the machine does not exist any more';
  if (!verdict) return undefined;
  switch (verdict.go) {
    case 'nowhere':
      return verdict.message;
    case 'leave':
      return verdict.machine === copy.machine ? verdict.why : undefined;
    case 'place':
      if (verdict.machine === copy.machine) return undefined;
      return verdict.lost === copy.machine
        ? 'its machine did not answer, and the unit was started elsewhere'
        : 'the unit was placed elsewhere';
    case 'stay':
      return verdict.machine === copy.machine ? undefined : 'the unit runs elsewhere';
    // Nothing is stopped that no verdict speaks of.
    case 'wait':
    case 'unschedulable':
      return undefined;
  }
}

function keptInStep({ row }: CopyFacts, source: UnitSource, verdict: Verdict | undefined): AssignmentSpec | undefined {
  // Without a text there is nothing to bring it in step with: what runs goes on.
  if (!source.text || verdict?.go !== 'stay') return undefined;
  const before = row.value;
  const starts = verdict.start || before.wanted === 'launched';
  const after = inStep(before, source, starts);
  return sameAssignment(before, after) ? undefined : after;
}

/** The assignment as the Unit is now. A restart that nobody asks for any more is not a change. */
export function inStep(before: AssignmentSpec, source: UnitSource, start: boolean): AssignmentSpec {
  const { template: _old, restart: oldRestart, ...rest } = before;
  const { hash, template } = source.text!;
  const restart = restartAskedFor(source.annotations, before.machine) ?? oldRestart;
  return {
    ...rest,
    generation: source.generation,
    ...(template ? { template } : {}),
    textHash: hash,
    wanted: source.planned.wanted === 'launched' && start ? 'launched' : 'loaded',
    ...(restart === undefined ? {} : { restart }),
    failover: source.planned.constraints.policy,
  };
}

export function newAssignment(source: UnitSource, { machine, start }: { machine: string; start: boolean }, now: string): AssignmentSpec {
  const blank: AssignmentSpec = {
    unit: source.name,
    machine,
    unitUid: source.uid,
    generation: source.generation,
    textHash: '',
    wanted: 'loaded',
    failover: 'stay',
    assignedAt: now,
  };
  return inStep(blank, source, start);
}

export function sameAssignment(a: AssignmentSpec, b: AssignmentSpec): boolean {
  return (
    a.generation === b.generation &&
    a.textHash === b.textHash &&
    a.wanted === b.wanted &&
    a.restart === b.restart &&
    a.failover === b.failover &&
    a.remove === b.remove &&
    a.unitUid === b.unitUid &&
    a.template?.uid === b.template?.uid &&
    a.template?.generation === b.template?.generation &&
    a.template?.name === b.template?.name
  );
}

// --- what is said of it -----------------------------------------------------------------------------------------------------------

function fragmentOf(
  facts: UnitFacts,
  source: UnitSource,
  verdict: Verdict,
  puts: readonly AssignmentSpec[],
  drops: readonly CopyFacts[],
): UnitFragment | undefined {
  const shown = shownCopy(facts.copies, puts, drops);
  // Nobody has to observe what should run nowhere and does run nowhere.
  if (verdict.go === 'nowhere' && !shown && !facts.fragment) return undefined;
  const isAssigned = verdict.go === 'stay' || verdict.go === 'place';
  const said = { type: 'Scheduled', status: isAssigned ? 'True' : 'False', reason: verdict.reason, message: verdict.message } as const;
  const lost = shown && facts.copies.find(({ machine }) => machine === shown.machine);
  const isLost = lost !== undefined && lost.health !== 'present';
  return {
    observedGeneration: source.generation,
    conditions: [condition(said, facts.fragment?.conditions, facts.now, source.generation)],
    ...(shown ? { machine: shown.machine } : {}),
    ...(shown?.template ? { textHash: shown.textHash, template: { uid: shown.template.uid, generation: shown.template.generation } } : {}),
    ...(isLost ? { machineLost: sentence(`machine ${shortId(lost.machine)} does not answer: what runs there is not known`) } : {}),
  };
}

/** Where it is, or, while none of its copies stays, where the last one is being stopped. */
function shownCopy(copies: readonly CopyFacts[], puts: readonly AssignmentSpec[], drops: readonly CopyFacts[]): AssignmentSpec | undefined {
  const after = new Map(copies.map(({ machine, row }) => [machine, row.value]));
  for (const drop of drops) after.delete(drop.machine);
  for (const put of puts) after.set(put.machine, put);
  const all = [...after.values()].sort((a, b) => (a.machine < b.machine ? -1 : 1));
  return all.find(({ remove }) => remove === undefined) ?? all[0];
}

/** Whether both say the same; conditions keep their times, so equal text is equal meaning. */
export const sameFragment = (a: UnitFragment, b: UnitFragment | undefined): boolean =>
  b !== undefined && JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

const sorted = (fragment: UnitFragment): unknown => Object.fromEntries(Object.entries(fragment).sort(([a], [b]) => (a < b ? -1 : 1)));

function eventsOf({ name, fragment }: UnitFacts, source: UnitSource, verdict: Verdict): ControllerEvent[] {
  const about = { kind: 'Unit', name, uid: source.uid };
  const before = fragment?.conditions?.find(({ type }) => type === 'Scheduled');
  const event = (type: ControllerEvent['type'], reason: string, message: string) => [{ about, type, reason, message: sentence(message) }];
  if (verdict.go === 'place') {
    const to = `machine ${shortId(verdict.machine)}`;
    if (verdict.lost !== undefined)
      return event('Warning', 'FailedOver', `machine ${shortId(verdict.lost)} does not answer; started on ${to} instead`);
    return event('Normal', 'Scheduled', `assigned to ${to}`);
  }
  if (verdict.go === 'leave') return event('Normal', 'Moved', `stopped on machine ${shortId(verdict.machine)}: ${verdict.why}`);
  const isNew = before?.reason !== verdict.reason;
  if (!isNew) return [];
  if (verdict.go === 'unschedulable') return event('Warning', 'Unschedulable', verdict.message);
  if (verdict.go === 'stay' && ['MachineLost', 'Caution', evictionReason].includes(verdict.reason))
    return event('Warning', verdict.reason, verdict.message);
  return [];
}

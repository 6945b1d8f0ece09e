/** What is said of a Machine in its status. Pure. */

import type { MachineInfo, Presence } from '../../api/resources/machine.js';
import type { Condition } from '../../api/resources/meta.js';
import type { ControllerEvent } from '../events.js';
import { shortId } from '../scheduler/match.js';
import { condition } from '../sentences.js';

/** The leader's part of a Machine's status: `/conditions/machines/<id>`. */
export interface MachineFragment {
  readonly observedGeneration?: number;
  readonly conditions?: readonly Condition[];
  readonly info?: MachineInfo;
  readonly units?: number;
}

export interface MachineFacts {
  readonly id: string;
  readonly uid: string;
  readonly generation: number;
  readonly presence: Presence | undefined;
  /** Caution holds its units. */
  readonly caution: { readonly reason: string; readonly why: string } | undefined;
  /** Drain was asked for: units that are still to leave, and those that do not leave, each with what there is to say of it. */
  readonly drain: { readonly moving: ReadonlyMap<string, string>; readonly staying: ReadonlyMap<string, string> } | undefined;
  readonly units: number;
  readonly fragment: MachineFragment | undefined;
  readonly now: string;
}

export function planMachine(facts: MachineFacts): { fragment: MachineFragment; events: ControllerEvent[] } {
  const { id, uid, generation, presence, caution, drain, units, fragment: before, now } = facts;
  const info = presence?.info ?? before?.info;
  const ready = readiness(facts);
  const conditions = [condition({ type: 'Ready', ...ready }, before?.conditions, now, generation)];
  // Without units there is nothing to hold, and in a new cluster nothing to tell. That too many are lost is remembered by this condition.
  if (caution && (units > 0 || caution.reason === 'TooManyLost')) {
    conditions.push(
      condition(
        { type: 'Caution', status: 'True', reason: caution.reason, message: `its units are not moved: ${caution.why}` },
        before?.conditions,
        now,
        generation,
      ),
    );
  }
  if (drain) conditions.push(condition({ type: 'Drained', ...drained(drain) }, before?.conditions, now, generation));
  const fragment = { observedGeneration: generation, conditions, ...(info ? { info } : {}), units };
  return { fragment, events: eventsOf(id, uid, before?.conditions, conditions) };
}

type Said = Pick<Condition, 'status' | 'reason' | 'message'>;

function readiness({ id, presence, fragment }: MachineFacts): Said {
  if (presence?.duplicate) {
    const [first, second] = presence.duplicate.bootIDs.map((boot) => boot.slice(0, 8));
    const message = `two hosts use this machine id (boots ${first} and ${second}): both are refused until one of them gets an id of its own (systemd-machine-id-setup)`;
    return { status: 'False', reason: 'DuplicateMachineID', message };
  }
  if (presence) return { status: 'True', reason: 'AgentConnected', message: `its agent (${presence.info.agentVersion}) answers` };
  if (!fragment?.info) return { status: 'Unknown', reason: 'NeverConnected', message: 'its agent has not connected yet' };
  return {
    status: 'False',
    reason: 'PresenceLost',
    message: `the agent on machine ${shortId(id)} does not answer: its heartbeats have stopped`,
  };
}

/** Units that are named before the rest is counted. */
const maxNamed = 10;

function drained({ moving, staying }: NonNullable<MachineFacts['drain']>): Said {
  const stays = staying.size === 0 ? '' : `; staying: ${spelled(staying)}`;
  if (moving.size === 0) return { status: 'True', reason: 'Drained', message: `all units that can run elsewhere have moved off${stays}` };
  return { status: 'False', reason: 'Draining', message: `still to move: ${spelled(moving)}${stays}` };
}

function spelled(units: ReadonlyMap<string, string>): string {
  const all = [...units].sort(([a], [b]) => (a < b ? -1 : 1)).map(([unit, note]) => (note === '' ? unit : `${unit} (${note})`));
  return all.length > maxNamed ? `${all.slice(0, maxNamed).join(', ')} and ${all.length - maxNamed} more` : all.join(', ');
}

function eventsOf(id: string, uid: string, before: readonly Condition[] | undefined, after: readonly Condition[]): ControllerEvent[] {
  const about = { kind: 'Machine', name: id, uid };
  const events: ControllerEvent[] = [];
  const find = (conditions: readonly Condition[] | undefined, type: string) => conditions?.find((one) => one.type === type);
  const [was, is] = [find(before, 'Ready'), find(after, 'Ready')!];
  if (is.status === 'False' && (was?.status !== 'False' || was.reason !== is.reason)) {
    events.push({ about, type: 'Warning', reason: is.reason === 'PresenceLost' ? 'MachineLost' : is.reason, message: is.message });
  }
  if (is.status === 'True' && was?.status === 'False') events.push({ about, type: 'Normal', reason: 'MachineBack', message: is.message });
  const [wasHeld, isHeld] = [find(before, 'Caution'), find(after, 'Caution')];
  if (isHeld && !wasHeld) events.push({ about, type: 'Warning', reason: 'CautionStarted', message: isHeld.message });
  if (wasHeld && !isHeld) events.push({ about, type: 'Normal', reason: 'CautionEnded', message: 'Its units are no longer held.' });
  const [wasDrained, isDrained] = [find(before, 'Drained'), find(after, 'Drained')];
  if (isDrained?.status === 'True' && wasDrained?.status !== 'True')
    events.push({ about, type: 'Normal', reason: 'Drained', message: isDrained.message });
  return events;
}

/** Whether there is anything to write; the count of units alone can wait. */
export function differs(a: MachineFragment, b: MachineFragment | undefined): 'no' | 'count' | 'yes' {
  if (!b) return 'yes';
  const { units: unitsA, ...restA } = a;
  const { units: unitsB, ...restB } = b;
  if (JSON.stringify(sorted(restA)) !== JSON.stringify(sorted(restB))) return 'yes';
  return unitsA === unitsB ? 'no' : 'count';
}

const sorted = (fields: object): unknown => Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));

/**
 * What a Unit's status says in words (SEMANTICS 3, 9): conditions derived from what was asked (spec), what the leader decided (fragment)
 * and what the machine's agent saw (state). Pure. Each condition names the generation that it is about, and its message is a sentence for
 * the user, because `describe` has to give a reason for whatever is not happening (invariant 8).
 */
import { constants } from 'node:os';
import type { UnitState } from '../resources/assignment.js';
import type { Condition } from '../resources/meta.js';
import type { DesiredState, UnitSpec } from '../resources/unit.js';
import { isInstanceName, isTemplateName } from '../resources/unit-name.js';
import { exitStatusName } from './exit-status.js';
import type { StoredObject } from './ports.js';
import type { UnitFragment } from './unit-fragment.js';

export interface UnitFacts {
  readonly own: StoredObject;
  readonly spec: Pick<UnitSpec, 'desiredState'>;
  readonly fragment: UnitFragment;
  /** What the machine named in the fragment reports about this very Unit (same uid). */
  readonly state: UnitState | undefined;
}

type Verdict = Pick<Condition, 'status' | 'reason' | 'message'>;

export interface UnitConditions {
  readonly conditions: Condition[];
  /** Generation that the status as a whole is about; absent when nobody has looked at the Unit yet. */
  readonly observedGeneration: number | undefined;
}

export function unitConditions(facts: UnitFacts): UnitConditions {
  const { own, fragment, state } = facts;
  const { generation, creationTimestamp } = own.metadata;
  const given = fragment.conditions ?? [];
  const scheduled = given.find(({ type }) => type === 'Scheduled');

  // A unit that should run nowhere and does run nowhere needs nobody to observe it.
  const isAtRest = !isWanted(facts) && fragment.machine === undefined;
  const observedGeneration = isAtRest ? generation : (state?.generation ?? fragment.observedGeneration);
  const sinceDecision = scheduled?.lastTransitionTime ?? creationTimestamp ?? epoch;

  const condition = (type: string, verdict: Verdict, since: string): Condition => ({
    type,
    ...verdict,
    lastTransitionTime: since,
    ...(observedGeneration === undefined ? {} : { observedGeneration }),
  });

  return {
    observedGeneration,
    conditions: [
      scheduled && !isAtRest ? scheduled : condition('Scheduled', notScheduled(facts, isAtRest), sinceDecision),
      condition('Ready', readiness(facts, scheduled), state?.since ?? sinceDecision),
      condition('UpToDate', upToDate(facts, scheduled), state?.since ?? sinceDecision),
      ...given.filter(({ type }) => type !== 'Scheduled' && type !== 'Ready' && type !== 'UpToDate'),
    ],
  };
}

const epoch = '1970-01-01T00:00:00Z';

const desiredOf = ({ own, spec }: UnitFacts): DesiredState =>
  isTemplateName(own.metadata.name) ? 'inactive' : (spec.desiredState ?? 'launched');

const isWanted = (facts: UnitFacts): boolean => desiredOf(facts) !== 'inactive' && !facts.own.metadata.deletionTimestamp;

const on = (machine: string): string => `on machine ${machine.slice(0, 8)}`;

function notScheduled(facts: UnitFacts, isAtRest: boolean): Verdict {
  if (!isAtRest) return { status: 'Unknown', reason: 'Pending', message: 'The scheduler has not looked at it yet.' };
  return { status: 'False', ...restReason(facts) };
}

function restReason(facts: UnitFacts): Pick<Verdict, 'reason' | 'message'> {
  const { own } = facts;
  if (own.metadata.deletionTimestamp) return { reason: 'Deleting', message: 'It is being deleted and runs on no machine.' };
  if (isTemplateName(own.metadata.name)) return { reason: 'Template', message: 'It is a template: only its instances run.' };
  return { reason: 'Inactive', message: 'It is not wanted on any machine, as desiredState says.' };
}

/** Ready: what was asked for is so. */
function readiness(facts: UnitFacts, scheduled: Condition | undefined): Verdict {
  const { fragment, state } = facts;
  if (!isWanted(facts)) return leaving(facts);
  const early = beforeReport(facts, scheduled);
  if (early || !state || !fragment.machine) return early ?? notReported(fragment.machine ?? '');

  const where = on(fragment.machine);
  const seen = `${state.active} (${state.sub})`;
  const isSo = isAsWanted(desiredOf(facts), state);
  if (desiredOf(facts) === 'loaded') {
    if (isSo) return { status: 'True', reason: 'Loaded', message: `Loaded ${where}: ${seen}.` };
    return {
      status: 'False',
      ...(state.problem ? problemOf(state.problem) : { reason: 'NotLoaded', message: `Its load state ${where} is ${state.load}.` }),
    };
  }
  if (isSo) {
    return state.active === 'inactive'
      ? { status: 'True', reason: 'Completed', message: `It ran ${where} and succeeded.` }
      : { status: 'True', reason: 'Active', message: `${capitalised(seen)} ${where}.` };
  }
  if (state.problem) return { status: 'False', ...problemOf(state.problem) };
  if (state.active === 'failed') return { status: 'False', reason: 'Failed', message: `Failed ${where}: ${outcomeOf(state)}.` };
  if (state.active === 'inactive') {
    if (state.load !== 'loaded') {
      return { status: 'False', reason: 'NotLoaded', message: `Its load state ${where} is ${state.load}.` };
    }
    if (hasRun(state)) {
      const ended = state.result === undefined || state.result === 'success' ? 'it ended by itself, with success' : outcomeOf(state);
      return { status: 'False', reason: 'Ended', message: `Not running ${where}: ${ended}.` };
    }
    return { status: 'False', reason: 'NotStarted', message: `Loaded ${where}, not started yet.` };
  }
  // Between two tries of Restart= the last one has failed already.
  const why = state.sub === 'auto-restart' && state.result !== undefined && state.result !== 'success' ? `: ${outcomeOf(state)}` : '';
  return { status: 'False', reason: capitalised(state.active), message: `${capitalised(seen)} ${where}${why}.` };
}

/** SEMANTICS 3: launched means active, or a oneshot that succeeded; loaded means loaded. */
export function isAsWanted(wanted: DesiredState, state: UnitState): boolean {
  if (wanted === 'loaded') return state.load === 'loaded';
  return state.active === 'active' || state.active === 'reloading' || (state.active === 'inactive' && isFinishedOneshot(state));
}

/** Ready of a unit that should run nowhere: whether it has come to rest. */
function leaving(facts: UnitFacts): Verdict {
  const { own, fragment, state } = facts;
  if (fragment.machine === undefined) {
    // Nothing is ready about a unit that is about to vanish.
    return { status: own.metadata.deletionTimestamp ? 'False' : 'True', ...restReason(facts) };
  }
  const seen = !state
    ? 'its agent has not said that it is gone'
    : state.gone
      ? 'process and file are gone'
      : `it is still ${state.active} (${state.sub})`;
  const why = own.metadata.deletionTimestamp ? 'Being deleted' : 'Being stopped';
  const reason = own.metadata.deletionTimestamp ? 'Deleting' : 'Stopping';
  if (fragment.machineLost) return { status: 'Unknown', reason: 'MachineLost', message: sentence(fragment.machineLost) };
  return { status: 'False', reason, message: `${why} ${on(fragment.machine)}: ${withoutStop(state?.problem?.message ?? seen)}.` };
}

/**
 * UpToDate: the newest that was asked for has been carried out. `runningHash` is not compared: the agent names a generation only once it
 * has restarted what had to be, and a text that differs in comments restarts nothing (SEMANTICS 12).
 */
function upToDate(facts: UnitFacts, scheduled: Condition | undefined): Verdict {
  const { own, fragment, state } = facts;
  if (!isWanted(facts)) return leaving(facts);
  const early = beforeReport(facts, scheduled);
  if (early || !state || !fragment.machine) return early ?? notReported(fragment.machine ?? '');

  const where = on(fragment.machine);
  const behind = (reason: string, message: string): Verdict => ({
    status: 'False',
    ...(state.problem ? problemOf(state.problem) : { reason, message }),
  });
  const generation = own.metadata.generation ?? 0;
  if (state.generation < generation) {
    return behind('Pending', `The agent ${where} has carried out generation ${state.generation}; the newest is ${generation}.`);
  }
  const follows = own.textHash === undefined && isInstanceName(own.metadata.name);
  if (follows) {
    const { template } = fragment;
    if (!template) return { status: 'Unknown', reason: 'TemplatePending', message: 'The scheduler has not looked at its template yet.' };
    if (state.template?.uid !== template.uid || state.template.generation < template.generation) {
      return behind('TemplatePending', `Generation ${template.generation} of its template has not been carried out ${where} yet.`);
    }
  }
  const wantedHash = own.textHash ?? fragment.textHash;
  if (wantedHash !== undefined && state.textHash !== wantedHash) {
    return behind('TextPending', `The unit file ${where} is not the newest.`);
  }
  if (state.problem) return { status: 'False', ...problemOf(state.problem) };
  return { status: 'True', reason: 'UpToDate', message: `Generation ${generation} was carried out ${where}.` };
}

/** What is said of a wanted unit as long as no report of its machine counts. */
function beforeReport({ fragment, state }: UnitFacts, scheduled: Condition | undefined): Verdict | undefined {
  if (fragment.machine === undefined) {
    if (!scheduled) return { status: 'Unknown', reason: 'Pending', message: 'The scheduler has not looked at it yet.' };
    return { status: 'False', reason: scheduled.reason, message: scheduled.message };
  }
  if (fragment.machineLost) return { status: 'Unknown', reason: 'MachineLost', message: sentence(fragment.machineLost) };
  // Stopped there because it moves: the scheduler's sentence says where to.
  if (scheduled && scheduled.status !== 'True' && (!state || state.gone)) {
    return { status: 'False', reason: scheduled.reason, message: scheduled.message };
  }
  return state?.gone ? notReported(fragment.machine) : undefined;
}

const notReported = (machine: string): Verdict => ({
  status: 'False',
  reason: 'NotReported',
  message: `Assigned; the agent ${on(machine)} has not reported it yet.`,
});

/**
 * fleet's word for what was seen: launched says that it was started, not that it still runs. What ended or failed while nobody wants it
 * launched any more has been stopped.
 */
export function currentStateOf({ desiredState = 'launched' }: Pick<UnitSpec, 'desiredState'>, state: UnitState | undefined): DesiredState {
  if (!state || state.gone) return 'inactive';
  const isWanted = desiredState === 'launched';
  if (state.active !== 'inactive' && (state.active !== 'failed' || isWanted)) return 'launched';
  if (state.load !== 'loaded') return 'inactive';
  return isWanted && hasRun(state) ? 'launched' : 'loaded';
}

/** systemd forgets a finished unit when it unloads it; what the agent still knows of the run proves that there was one. */
const hasRun = ({ runningHash, exitStatus, invocationID }: UnitState): boolean =>
  runningHash !== undefined || exitStatus !== undefined || Boolean(invocationID);

const isFinishedOneshot = (state: UnitState): boolean => state.type === 'oneshot' && state.result === 'success' && hasRun(state);

/** The agent's own words, as a sentence; the name of a unit at its beginning keeps its case. */
const problemOf = ({ reason, message }: NonNullable<UnitState['problem']>) => ({
  reason,
  message: /^\S*[.@]\S/.test(message) ? `${withoutStop(message)}.` : sentence(message),
});

/** How the last run ended, as the end of a sentence. Results as in systemd.exec(5), $SERVICE_RESULT. */
function outcomeOf({ result, exitStatus, problem }: UnitState): string {
  if (problem) return withoutStop(problem.message);
  const status = exitStatus === undefined ? '' : ` ${exitStatusName(exitStatus)}`;
  switch (result) {
    case undefined:
    case 'success':
      return 'systemd gives no result';
    case 'exit-code':
      return `a process exited with status${status || ' other than 0'}`;
    case 'signal':
      return `a process was killed by ${signalName(exitStatus)}`;
    case 'core-dump':
      return `a process dumped core on ${signalName(exitStatus)}`;
    case 'timeout':
      return 'starting or stopping it took longer than allowed (result timeout)';
    case 'watchdog':
      return 'it missed its watchdog deadline (result watchdog)';
    case 'start-limit-hit':
      return 'it was started too often in a short time (result start-limit-hit)';
    case 'oom-kill':
      return 'memory ran out and one of its processes was killed (result oom-kill)';
    case 'resources':
      return 'systemd lacked something that it needs to start it, such as a file or directory that it names (result resources)';
    case 'protocol':
      return 'it did not behave as its Type= promises (result protocol)';
    default:
      return `result ${result}${status && `, exit status${status}`}`;
  }
}

function signalName(number: number | undefined): string {
  const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
  return name ?? (number === undefined ? 'a signal' : `signal ${number}`);
}

const capitalised = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const withoutStop = (text: string): string => text.replace(/\.$/, '');
const sentence = (text: string): string => `${capitalised(withoutStop(text))}.`;

/**
 * What must be done to one unit so that systemd matches what is wanted of it here. Arithmetic: values in, steps out, each with its
 * reason; no clock, no bus, no disk. Every state that a crash can leave behind has a plan that leads on from it.
 */
import type { UnitState } from '../api/resources/assignment.js';
import type { AgentAssignment } from '../api/resources/protocol.js';
import { mayLackAnother } from '../api/resources/start-results.js';
import { type Start, sameStart, type UnitRecord } from './records.js';
import type { Step } from './steps.js';
import { isDown, isUp, type SeenUnit } from './systemd.js';
import { installLinks, type OwnFile, restartHash } from './unit-text.js';

export interface World {
  readonly name: string;
  readonly desired: AgentAssignment | undefined;
  readonly seen: SeenUnit;
  /** The current or last invocation that systemd remembers; '' when it remembers none. */
  readonly invocationID: string;
  /** Where systemd has the name from, when not from a file of ours: the path, or words for it. */
  readonly foreign: string | undefined;
  readonly file: OwnFile | undefined;
  /** systemd made it up without a file (`implicit-units.ts`), and does not notice by itself that there is one now. */
  readonly isMadeUp?: boolean;
  /** The file that the current one replaced, until systemd has taken the current one. */
  readonly previous: OwnFile | undefined;
  readonly record: UnitRecord | undefined;
  readonly bootID: string;
  /** False while no server has told this agent, since it started, what belongs here: absence means nothing then (invariant 13). */
  readonly mayLeave: boolean;
  /** Why a unit that was not started in this boot may not be started yet (SEMANTICS 16). */
  readonly startHeld: string | undefined;
  /** Since its last start another unit's file has come to this machine. */
  readonly hasNews?: boolean;
  /** A unit that it wants started along with itself, and whose file has come to this machine only after it was started. */
  readonly lateWanted?: string | undefined;
  /** Somebody stopped it by hand, and it is time to repair that (SEMANTICS 11). */
  readonly isDriftDue: boolean;
}

export interface Plan {
  readonly steps: readonly Step[];
  /** Why what is wanted is not being done. */
  readonly problem?: NonNullable<UnitState['problem']>;
}

const nothing: Plan = { steps: [] };

export function plan(world: World): Plan {
  const { desired } = world;
  if (!desired) return world.mayLeave ? leave(world, 'no longer assigned here') : nothing;
  if (desired.remove !== undefined) return leave(world, desired.remove);
  if (world.foreign !== undefined) return refuse(world, world.foreign);
  return desired.wanted === 'loaded' ? load(world, desired) : launch(world, desired);
}

/** The name belongs to the machine: it is neither shadowed nor touched (SEMANTICS 14). */
const refuse = ({ name }: World, owner: string): Plan => ({
  steps: [],
  problem: { reason: 'NameTaken', message: `${name} is a unit of the machine itself (${owner}); it is not touched` },
});

function leave({ seen, foreign, file, record }: World, why: string): Plan {
  const isHere = file !== undefined || record !== undefined;
  if (!isHere) return nothing;
  const steps: Step[] = [];
  // A file of ours may lie below one of the machine's: then the process is the machine's.
  if (foreign === undefined && !isDown(seen)) steps.push({ do: 'stop', why });
  else if (foreign === undefined && seen.active === 'failed') steps.push({ do: 'resetFailed', why });
  // The file is there until the stop is over: ExecStop= is in it.
  if (file !== undefined) steps.push({ do: 'remove', why });
  steps.push({ do: 'forget', why });
  return { steps };
}

/** On disk and enabled, not started by us. Whatever else starts it, a timer or a socket, may. */
function load(world: World, desired: AgentAssignment): Plan {
  const { seen, record } = world;
  const steps: Step[] = [];
  const wasLaunched = record?.started !== undefined || record?.starting !== undefined || record?.stopping === true;
  const why = 'wanted loaded, no longer launched';
  if (wasLaunched && isDown(seen)) steps.push(...afresh(seen), { do: 'unlaunch', why });
  else if (wasLaunched) steps.push({ do: 'stop', why });
  steps.push(...place(world, desired.text, desired, seen.load !== 'not-found'), ...accept(world, desired));
  return { steps };
}

function launch(world: World, desired: AgentAssignment): Plan {
  const { seen, record, file, previous, bootID } = world;
  const refused = refusalOf(record, desired);
  // A text that systemd would not load is not tried again: what could be loaded before stays, or nothing does.
  const text = refused ? goodText(desired, file, previous) : desired.text;
  const problem = refused && { reason: 'LoadFailed', message: loadFailure(refused.message, text !== undefined) };
  if (text === undefined) return { steps: [], ...(problem ? { problem } : {}) };
  const rollBack: Step[] = refused && file?.textHash === desired.textHash ? goBack(world, refused.message) : [];

  const start: Start = {
    uid: desired.unitUid,
    restartHash: restartHash(text),
    ...(desired.restart === undefined ? {} : { restart: desired.restart }),
    boot: bootID,
    textHash: refused ? (rollBack.length ? previous!.textHash : file!.textHash) : desired.textHash,
  };
  const finish = (steps: Step[]): Plan => {
    return problem ? { steps, problem } : { steps: [...steps, ...accept(world, desired)] };
  };
  // Written without a stop: comments, placement and a new generation change the file and nothing that runs.
  const placeQuietly = refused ? rollBack : place(world, text, desired, world.isMadeUp === true);

  const isStarted = record?.stopping !== true && sameStart(record?.started, start);
  if (isStarted) {
    if (isDown(seen) && isOwedAStart(world)) {
      const why = 'its start came to nothing, and a unit that it may need has come since';
      return finish([...afresh(seen), ...placeQuietly, { do: 'start', start, why }]);
    }
    if (isUp(seen) && world.lateWanted !== undefined) {
      const why = `it wants ${world.lateWanted}, which came after it was started`;
      return finish([...placeQuietly, { do: 'startWanted', why }]);
    }
    if (!world.isDriftDue || !isDown(seen)) return finish(placeQuietly);
    return finish([...afresh(seen), ...placeQuietly, { do: 'start', start, why: 'stopped by hand, wanted launched' }]);
  }

  const reason = reasonToRestart(world, start);
  const isStopping = seen.active === 'deactivating';
  if (!isDown(seen) && !isStopping && reason === undefined) {
    return finish([...placeQuietly, { do: 'adopt', start, why: 'it runs already, as wanted' }]);
  }
  // It was started just before the last agent died, and has ended since: once is once.
  const hasRun =
    sameStart(record?.starting, start) && world.invocationID !== '' && world.invocationID !== record?.starting?.invocationBefore;
  if (hasRun && isDown(seen)) return finish([...placeQuietly, { do: 'adopt', start, why: 'it was started before this agent was' }]);

  if (world.startHeld !== undefined && isDown(seen)) return { steps: [], problem: { reason: 'StartHeld', message: world.startHeld } };
  if (isDown(seen)) {
    const why = record?.started?.boot === bootID ? (reason ?? 'wanted launched') : 'wanted launched';
    const steps = refused ? rollBack : place(world, text, desired, seen.load !== 'not-found');
    return finish([...afresh(seen), ...steps, { do: 'start', start, why }]);
  }

  const why = reason ?? 'it was being stopped, wanted launched';
  const stop: Step = { do: 'stop', why };
  const [stage, ...rest] = refused ? rollBack : place(world, text, desired, true);
  // The new file lies ready before the stop, so that a full disk is found out while the old process still runs.
  const around: Step[] = stage === undefined ? [stop] : stage.do === 'stage' ? [stage, stop, ...rest] : [stop, stage, ...rest];
  return finish([...around, { do: 'start', start, why }]);
}

/** Nothing of it ran, so another try does not start it twice (SEMANTICS 11); without news it would end as the last one did. */
const isOwedAStart = ({ record, hasNews }: World): boolean =>
  hasNews === true && record?.unstarted !== undefined && mayLackAnother(record.unstarted.reason);

/** Steps that put the text on disk; none when it is there already. */
function place({ name, file }: World, text: string, desired: AgentAssignment, isLoaded: boolean): Step[] {
  if (file?.textHash === desired.textHash && file.uid === desired.unitUid) return [];
  const why = file === undefined ? 'new here' : file.textHash === desired.textHash ? 'its Unit is another one now' : 'its text changed';
  const links = installLinks(name, text);
  const mayHaveLinks = file !== undefined && installLinks(name, file.text).length > 0;
  return [
    { do: 'stage', file: { uid: desired.unitUid, textHash: desired.textHash, text }, why },
    ...(links.length > 0 || mayHaveLinks ? [{ do: 'link', links, why: 'its [Install] section' } as const] : []),
    { do: 'write', why },
    ...(isLoaded ? [{ do: 'reload', why: 'systemd may still hold the old file' } as const] : []),
  ];
}

/** The old text with the links of its [Install] section: those first, because once the file is back nothing tells that they are not. */
function goBack({ name, file, previous }: World, message: string): Step[] {
  const links = previous ? installLinks(name, previous.text) : [];
  const mayHaveLinks = file !== undefined && installLinks(name, file.text).length > 0;
  return [
    ...(links.length > 0 || mayHaveLinks ? [{ do: 'link', links, why: 'the [Install] section of the text before' } as const] : []),
    { do: 'rollBack', why: `systemd did not load the new text: ${message}` },
    { do: 'reload', why: 'systemd may still hold the refused file' },
  ];
}

/** A failed run keeps the old file loaded, and its start limit: let go first, it costs no reload. */
const afresh = (seen: SeenUnit): Step[] => (seen.active === 'failed' ? [{ do: 'resetFailed', why: 'its failed run is over' }] : []);

function accept({ record }: World, { unitUid, generation, template }: AgentAssignment): Step[] {
  const sameTemplate = record?.template?.uid === template?.uid && record?.template?.generation === template?.generation;
  if (record?.uid === unitUid && record.generation === generation && sameTemplate) return [];
  const from = template && { uid: template.uid, generation: template.generation };
  return [{ do: 'accept', uid: unitUid, generation, template: from, why: `generation ${generation} is carried out` }];
}

/** Why what runs is not what is wanted; undefined when it is, or when nobody can know (SEMANTICS 12). */
function reasonToRestart({ record, file, bootID }: World, start: Start): string | undefined {
  const started = record?.started?.boot === bootID ? record.started : undefined;
  if (started && started.uid !== start.uid) return 'its Unit is another one now';
  const runs = started?.restartHash ?? (file && restartHash(file.text));
  if (runs !== undefined && runs !== start.restartHash) return 'its text changed';
  if (started && start.restart !== undefined && started.restart !== start.restart) return 'a restart was asked for';
  return undefined;
}

const refusalOf = (record: UnitRecord | undefined, desired: AgentAssignment): UnitRecord['refused'] => {
  const refused = record?.refused;
  const isAboutThis = refused?.uid === desired.unitUid && refused.textHash === desired.textHash && refused.restart === desired.restart;
  return isAboutThis ? refused : undefined;
};

/** The text that was loaded before the refused one. */
function goodText(desired: AgentAssignment, file: OwnFile | undefined, previous: OwnFile | undefined): string | undefined {
  if (file && file.textHash !== desired.textHash) return file.text;
  return previous && previous.textHash !== desired.textHash ? previous.text : undefined;
}

const loadFailure = (message: string, hasOld: boolean): string =>
  `systemd does not load this text: ${message}${hasOld ? '; the one before it was put back' : ''}`;

/** A unit's copy on a machine in the shape of a core/v1 Pod with one container. Pure. */
import type { Joined } from '../../objects/ports.js';
import type { Assignment, AssignmentSpec, UnitState } from '../../resources/assignment.js';
import type { FlotillaObject } from '../../resources/meta.js';
import { defaultNamespace } from './kind.js';

/** The name of the one container that every pod has. */
export const containerName = 'unit';

/** On a pod that its machine is to let go of: why. */
export const leavingAnnotation = 'flotilla.dev/leaving';
/** By this mark `kubectl drain` knows pods that belong to their node, and passes them over. */
export const boundAnnotation = 'kubernetes.io/config.mirror';

/** How long systemd waits for what it stops, unless the unit or the machine says otherwise. kubectl cannot show a leaving pod without. */
const stopSeconds = 90;

interface Waiting {
  readonly waiting: { readonly reason: string; readonly message?: string };
}
interface Running {
  readonly running: { readonly startedAt?: string };
}
interface Terminated {
  readonly terminated: { readonly exitCode: number; readonly reason: string; readonly message?: string; readonly finishedAt?: string };
}

export interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly started: boolean;
  readonly restartCount: number;
  readonly image: string;
  readonly imageID: string;
  readonly state: Waiting | Running | Terminated;
}

export interface PodStatus {
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown';
  readonly reason?: string;
  readonly message?: string;
  readonly conditions: readonly { readonly type: string; readonly status: string; readonly [field: string]: unknown }[];
  readonly hostIP?: string;
  readonly podIP?: string;
  readonly startTime: string;
  readonly containerStatuses: readonly ContainerStatus[];
}

export interface PodSpec {
  readonly nodeName: string;
  readonly [field: string]: unknown;
}

export type Pod = FlotillaObject<PodSpec, PodStatus>;

/** What a pod shows besides its assignment. */
export interface PodParts {
  readonly assignment: Joined;
  readonly node: {
    readonly name: string;
    readonly address?: string | undefined;
    /** Why what runs there is not known, while it is not. */
    readonly lost?: string | undefined;
  };
  /** Absent when the Unit is gone already. */
  readonly unit:
    | {
        readonly labels: Readonly<Record<string, string>>;
        /** Global, or pinned to its machine: it cannot run elsewhere. */
        readonly isBound: boolean;
        readonly requests: { readonly cpuMillis: number; readonly memoryBytes: number };
      }
    | undefined;
  /** Wire resourceVersion. */
  readonly resourceVersion: string;
}

export function podOf({ assignment, node, unit, resourceVersion }: PodParts): Joined {
  const { metadata, spec, status: seen } = assignment as Assignment & Joined;
  const { unit: unitName, unitUid, assignedAt, remove } = spec!;
  const state = seen?.unitUid === unitUid ? seen : undefined;
  const annotations = {
    ...(unit?.isBound ? { [boundAnnotation]: metadata.uid } : {}),
    ...(remove === undefined ? {} : { [leavingAnnotation]: remove }),
  };
  return Object.freeze({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: Object.freeze({
      name: metadata.name,
      namespace: defaultNamespace,
      uid: metadata.uid,
      resourceVersion,
      creationTimestamp: assignedAt,
      ...(metadata.deletionTimestamp ? { deletionTimestamp: metadata.deletionTimestamp, deletionGracePeriodSeconds: stopSeconds } : {}),
      labels: { ...unit?.labels, ...metadata.labels },
      ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
      ownerReferences: [
        { apiVersion: 'flotilla.dev/v1', kind: 'Unit', name: unitName, uid: unitUid, controller: true, blockOwnerDeletion: false },
      ],
    }),
    spec: Object.freeze({
      nodeName: node.name,
      hostNetwork: true,
      restartPolicy: 'Always',
      containers: [{ name: containerName, image: '', resources: resourcesOf(unit?.requests) }],
    }),
    status: Object.freeze(statusOf(spec!, state, node)),
  });
}

function resourcesOf(requests: NonNullable<PodParts['unit']>['requests'] | undefined): object {
  const asked = {
    ...(requests?.cpuMillis ? { cpu: `${requests.cpuMillis}m` } : {}),
    ...(requests?.memoryBytes ? { memory: String(requests.memoryBytes) } : {}),
  };
  return Object.keys(asked).length === 0 ? {} : { requests: asked };
}

function statusOf(spec: AssignmentSpec, state: UnitState | undefined, { address, lost }: PodParts['node']): PodStatus {
  const seen = container(spec, state);
  const isReady = seen.isReady && lost === undefined;
  const since = state?.since ?? spec.assignedAt;
  const condition = (type: string, isTrue: boolean, more: object = {}) => ({
    type,
    status: isTrue ? 'True' : lost === undefined ? 'False' : 'Unknown',
    lastTransitionTime: since,
    ...more,
  });
  const said = lost ?? state?.problem?.message ?? ('waiting' in seen.state ? seen.state.waiting.message : undefined);
  const why = isReady ? {} : { reason: seen.word, ...(said === undefined ? {} : { message: said }) };
  return {
    phase: lost === undefined ? seen.phase : 'Unknown',
    ...(lost === undefined ? {} : { reason: 'NodeLost', message: lost }),
    conditions: [
      { type: 'PodScheduled', status: 'True', lastTransitionTime: spec.assignedAt },
      condition('ContainersReady', isReady, why),
      condition('Ready', isReady, why),
    ],
    ...(address ? { hostIP: address, hostIPs: [{ ip: address }], podIP: address, podIPs: [{ ip: address }] } : {}),
    startTime: spec.assignedAt,
    containerStatuses: [
      {
        name: containerName,
        ready: isReady,
        started: 'running' in seen.state,
        restartCount: state?.restarts ?? 0,
        image: '',
        imageID: '',
        state: seen.state,
      },
    ],
  };
}

interface Seen {
  readonly phase: PodStatus['phase'];
  readonly isReady: boolean;
  /** One word for it. */
  readonly word: string;
  readonly state: ContainerStatus['state'];
}

const waiting = (phase: PodStatus['phase'], reason: string, message?: string): Seen => ({
  phase,
  isReady: false,
  word: reason,
  state: { waiting: { reason, ...(message === undefined ? {} : { message }) } },
});

/** systemd's states in Kubernetes' words; where those have none, systemd's own. */
function container(spec: AssignmentSpec, state: UnitState | undefined): Seen {
  if (!state) return waiting('Pending', 'Pending', 'The agent has not reported it yet.');
  const where = `${state.active} (${state.sub})`;
  switch (state.active) {
    case 'active':
    case 'reloading':
    case 'refreshing':
      return { phase: 'Running', isReady: true, word: 'Running', state: { running: { startedAt: state.since } } };
    case 'deactivating':
      return { phase: 'Running', isReady: false, word: 'Stopping', state: { running: {} } };
    case 'activating':
      if (state.sub.startsWith('auto-restart')) return waiting('Running', 'CrashLoopBackOff', `systemd starts it again: ${where}`);
      return waiting('Pending', 'Starting', where);
    case 'failed':
      return ended('Failed', state, state.result === 'oom-kill' ? 'OOMKilled' : 'Error');
    default:
  }
  if (state.problem) return waiting('Pending', state.problem.reason, state.problem.message);
  if (state.load !== 'loaded' && !state.gone) return waiting('Pending', 'NotLoaded', `Its load state is ${state.load}.`);
  const hasRun = state.runningHash !== undefined || state.exitStatus !== undefined || Boolean(state.invocationID);
  if (state.gone || (hasRun && spec.wanted === 'launched')) {
    const isGood = state.result === undefined || state.result === 'success';
    return ended(isGood ? 'Succeeded' : 'Failed', state, isGood ? 'Completed' : 'Error');
  }
  return spec.wanted === 'loaded'
    ? waiting('Pending', 'Loaded', 'Loaded and not started.')
    : waiting('Pending', 'NotStarted', 'Loaded and not started yet.');
}

function ended(phase: PodStatus['phase'], state: UnitState, reason: string): Seen {
  const isSignal = state.result === 'signal' || state.result === 'core-dump' || state.result === 'oom-kill';
  const status = state.exitStatus ?? (phase === 'Failed' ? 1 : 0);
  const terminated = {
    exitCode: isSignal ? 128 + status : status,
    reason,
    ...(state.result === undefined ? {} : { message: `systemd's result: ${state.result}` }),
    finishedAt: state.since,
  };
  return { phase, isReady: false, word: reason, state: { terminated } };
}

/** The word in kubectl's STATUS column. */
export function standing({ metadata, status }: Pod): string {
  if (metadata.annotations?.[leavingAnnotation] !== undefined) return 'Terminating';
  if (status?.reason !== undefined) return status.reason;
  const state = status?.containerStatuses[0]?.state;
  if (state && 'waiting' in state) return state.waiting.reason;
  if (state && 'terminated' in state) return state.terminated.reason;
  return status?.phase ?? 'Unknown';
}

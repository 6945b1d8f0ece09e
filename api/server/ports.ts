/** What the HTTP door needs from others, and what others may plug into it. */
import type { IncomingMessage } from 'node:http';
import type { MachineUsage } from '../resources/protocol.js';
import type { JournalFormat } from '../resources/unit-output.js';
import type { Decision, Identity, RequestAttributes } from './identity.js';
import type { RouteRegistry } from './routes.js';

/** Who sent this request: decided from its connection (socket, certificate), never from its headers. */
export type IdentityOf = (request: IncomingMessage) => Identity;

/** May they? Pure: sees the identity and what the request wants, nothing else. Asked for every route that is not public. */
export type Authorize = (identity: Identity, attributes: RequestAttributes) => Decision;

/** Adds routes of its own, through the same registry and so under the same identity and authorization as all others. */
export type RoutePlugin = (routes: RouteRegistry) => void;

interface AboutUnit {
  /** Unit name, as assigned. */
  readonly unit: string;
  /** Full machine id. */
  readonly machine: string;
  /** Aborts when the reader has gone: the process that tells it must end (SEMANTICS 18). */
  readonly signal: AbortSignal;
}

/** Lines of the unit's journal. */
export interface JournalRequest extends AboutUnit {
  readonly show: 'journal';
  /** How many of the last lines to begin with. */
  readonly lines: number;
  /** Stay and send what comes. */
  readonly follow: boolean;
  /** Only lines younger than this. */
  readonly sinceSeconds?: number;
  /** Only lines from this time on, wall-clock milliseconds. */
  readonly sinceMs?: number;
  /** Only the run before the current one. */
  readonly previous?: boolean;
  /** In a format with fields: this one alone, whole however long it is. */
  readonly field?: 'MESSAGE';
  /** Default `defaultJournalFormat`. */
  readonly output?: JournalFormat;
}

/** What `systemctl status` says. */
export interface StatusRequest extends AboutUnit {
  readonly show: 'status';
}

export type OutputRequest = JournalRequest | StatusRequest;

/** What a machine shows of a unit. */
export interface UnitOutput {
  /** Text, pulled at the reader's pace. The iterator throws when it breaks off in the middle. */
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Of the program that told it; known once `bytes` has come to its end. */
  exitCode(): number;
}

export interface OutputSource {
  /**
   * Rejects with StatusError before the first byte: ServiceUnavailable when the machine is not connected or its agent too old for this,
   * TooManyRequests when it shows enough already.
   */
  open(request: OutputRequest): Promise<UnitOutput>;
}

export interface UsageSource {
  /** What machines use now, by id. Those that do not answer in time are left out; takes seconds. */
  of(machines: Iterable<string>, signal: AbortSignal): Promise<ReadonlyMap<string, MachineUsage>>;
}

/** One line of `/readyz?verbose`. */
export interface HealthCheck {
  readonly name: string;
  /** 'live': a failure asks for a restart of this process. 'ready': send no requests here. 'info': only shown. */
  readonly gates: 'live' | 'ready' | 'info';
  /** Resolves within the health deadline, or counts as failed. A sentence either way. */
  check(signal: AbortSignal): Promise<{ readonly ok: boolean; readonly message: string }>;
}

/** A part of the control plane, as `flotilla get components` shows it. */
export interface Component {
  /** Unique, as `etcd-<name>` or `server-<name>`. */
  readonly name: string;
  readonly type: 'etcd' | 'server';
  readonly healthy: boolean;
  /** Leads its own kind: the raft leader among etcd's members, the elected controllers among the servers. */
  readonly leader: boolean;
  /** Why it is not healthy, or what else there is to say. */
  readonly message: string;
  readonly endpoints?: readonly string[];
  readonly version?: string;
  readonly dbSizeBytes?: number;
}

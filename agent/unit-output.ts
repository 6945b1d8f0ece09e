/**
 * What this machine shows of a unit, sent down a connection of its own: a fast journal and a slow reader delay no heartbeat
 * (SEMANTICS 18). The process that tells it dies with its reader and stands still while the reader is behind.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import WebSocket from 'ws';
import { exitClose, type FromServer, maxOutputsPerMachine, outputClose } from '../api/resources/protocol.js';
import { defaultJournalFormat } from '../api/resources/unit-output.js';
import type { Logger } from '../runtime/log.js';
import { invocationsOf, type RunNow, runBefore } from './previous-run.js';
import { type TlsIdentity, tlsOptions, webSocketUrl } from './stream.js';

type OpenLogs = Extract<FromServer, { type: 'open-logs' }>;
type OpenStatus = Extract<FromServer, { type: 'open-status' }>;
export type OpenOutput = OpenLogs | OpenStatus;

export interface OutputOptions {
  readonly identity: () => TlsIdentity;
  /** Whether the unit is assigned here: nothing is shown of any other. */
  readonly isAssigned: (unit: string) => boolean;
  readonly runOf: (unit: string) => RunNow;
  /** The user manager's units are another manager's, and in another place of the journal. */
  readonly isUserManager: boolean;
  readonly log: Logger;
  /** For tests. Default the `journalctl` and `systemctl` of the machine. */
  readonly command?: string;
}

/** Unsent bytes above which the process waits, and below which it goes on. */
const highWaterBytes = 256 * 1024;
const lowWaterBytes = 64 * 1024;
const connectTimeoutMs = 5_000;

/** Every user-given word is the tail of an argument that begins with its option, so none can become an option. */
export const journalArguments = (
  { unit, lines, follow, since, output, field }: Omit<OpenLogs, 'type' | 'request'>,
  isUserManager: boolean,
  invocationID?: string,
): string[] => [
  `--output=${output ?? defaultJournalFormat}`,
  '--no-pager',
  '--quiet',
  `--lines=${lines}`,
  ...(follow ? ['--follow'] : []),
  ...(since === undefined ? [] : [`--since=${since}`]),
  ...(field === undefined ? [] : [`--output-fields=${field}`, '--all']),
  ...(isUserManager
    ? ['--user', `--user-unit=${unit}`]
    : invocationID === undefined
      ? [`--unit=${unit}`]
      : // What the unit wrote, and what systemd wrote of it.
        [`_SYSTEMD_INVOCATION_ID=${invocationID}`, '+', '_PID=1', `INVOCATION_ID=${invocationID}`]),
];

export const statusArguments = (unit: string, isUserManager: boolean): string[] => [
  ...(isUserManager ? ['--user'] : []),
  'status',
  '-l',
  '--no-pager',
  '--',
  unit,
];

/** One way to show a unit: what is run, and what its end means. */
interface Showing {
  readonly program: string;
  readonly args: readonly string[];
  /** An exit code that is not 0 is part of the answer, and stderr is part of the text. */
  readonly speaksByExitCode: boolean;
}

const showingOf = (message: OpenOutput, isUserManager: boolean, invocationID?: string): Showing =>
  message.type === 'open-logs'
    ? { program: 'journalctl', args: journalArguments(message, isUserManager, invocationID), speaksByExitCode: false }
    : { program: 'systemctl', args: statusArguments(message.unit, isUserManager), speaksByExitCode: true };

export class UnitOutputs {
  readonly #options: OutputOptions;
  readonly #open = new Map<string, OutputStream>();

  constructor(options: OutputOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  open(message: OpenOutput, server: string): void {
    const { request, unit } = message;
    const { log, isAssigned } = this.#options;
    const refusal = !isAssigned(unit)
      ? ([outputClose.notAssigned, `${unit} is not assigned to this machine`] as const)
      : this.#open.size >= maxOutputsPerMachine
        ? ([outputClose.tooMany, `${maxOutputsPerMachine} journals and statuses of this machine are being read already`] as const)
        : undefined;
    const stream = new OutputStream(message, server, this.#options, refusal, () => {
      if (this.#open.get(request) === stream) this.#open.delete(request);
      log.info('output closed', { unit, request });
    });
    if (!refusal) this.#open.set(request, stream);
  }

  close(request: string): void {
    this.#open.get(request)?.end(outputClose.ended, '');
  }

  closeAll(): void {
    for (const stream of this.#open.values()) stream.end(outputClose.ended, 'the agent ends');
  }
}

class OutputStream {
  readonly #socket: WebSocket;
  readonly #onEnd: () => void;
  #process: ChildProcessByStdio<null, Readable, Readable> | undefined;
  #complaint = '';
  #hasEnded = false;

  constructor(
    message: OpenOutput,
    server: string,
    options: OutputOptions,
    refusal: readonly [number, string] | undefined,
    onEnd: () => void,
  ) {
    this.#onEnd = onEnd;
    this.#socket = new WebSocket(webSocketUrl(server, `/agent/v1/logs/${encodeURIComponent(message.request)}`), {
      ...tlsOptions(options.identity()),
      perMessageDeflate: false,
      handshakeTimeout: connectTimeoutMs,
    });
    this.#socket.on('error', (error) => {
      options.log.warn('output connection failed', { unit: message.unit, error: error.message });
      this.#stop();
    });
    this.#socket.on('close', () => this.#stop());
    this.#socket.on('open', () => {
      if (refusal) this.end(...refusal);
      else if (message.type === 'open-logs' && message.previous) {
        this.#startPrevious(message, options).catch((error: Error) => this.end(outputClose.failed, error.message));
      } else this.#start(showingOf(message, options.isUserManager), options.command);
    });
  }

  async #startPrevious(message: OpenLogs, { isUserManager, runOf, command }: OutputOptions): Promise<void> {
    const { unit } = message;
    if (isUserManager) return this.end(outputClose.noRun, "of units of a user's own systemd, earlier runs are not told apart");
    const before = runBefore(await invocationsOf(unit, command), runOf(unit));
    if (before === undefined) this.end(outputClose.noRun, `the journal has no earlier run of ${unit}`);
    else this.#start(showingOf(message, isUserManager, before), command);
  }

  /** Ends the process and tells the reader why. */
  end(code: number, reason: string): void {
    this.#socket.close(code, Buffer.from(reason).subarray(0, 120).toString());
    this.#stop();
  }

  #start({ program, args, speaksByExitCode }: Showing, command = program): void {
    if (this.#hasEnded) return;
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C.UTF-8', SYSTEMD_COLORS: '0' },
    });
    this.#process = child;
    child.on('error', (error) => this.end(outputClose.failed, error.message));
    this.#send(child.stdout);
    if (speaksByExitCode) this.#send(child.stderr);
    else {
      child.stderr.on('data', (chunk: Buffer) => {
        this.#complaint = (this.#complaint + chunk.toString()).slice(-500);
      });
    }
    // `close` comes after the last byte; `exit` may come before it.
    child.on('close', (code, signal) => {
      this.#process = undefined;
      if (this.#hasEnded) this.end(outputClose.ended, '');
      else if (speaksByExitCode && code !== null) this.end(exitClose + code, '');
      else if (code === 0) this.end(outputClose.ended, '');
      else this.end(outputClose.failed, this.#complaint.trim() || `${program} ended with ${code ?? signal}`);
    });
  }

  #send(output: Readable): void {
    output.on('data', (chunk: Buffer) => {
      this.#socket.send(chunk, () => {
        if (output.isPaused() && this.#socket.bufferedAmount < lowWaterBytes) output.resume();
      });
      if (this.#socket.bufferedAmount > highWaterBytes) output.pause();
    });
  }

  #stop(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    // It has nothing to save, and SIGKILL also ends one that stands still.
    this.#process?.kill('SIGKILL');
    this.#onEnd();
  }
}

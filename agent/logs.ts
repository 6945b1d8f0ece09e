/**
 * A unit's journal, sent down a connection of its own: a fast journal and a slow reader delay no heartbeat (SEMANTICS 18). The journal
 * process dies with its reader and stands still while the reader is behind.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import WebSocket from 'ws';
import { type FromServer, logsClose, maxLogsPerMachine } from '../api/resources/protocol.js';
import type { Logger } from '../runtime/log.js';
import { type TlsIdentity, tlsOptions, webSocketUrl } from './stream.js';

type OpenLogs = Extract<FromServer, { type: 'open-logs' }>;

export interface LogsOptions {
  readonly identity: () => TlsIdentity;
  /** Whether the unit is assigned here: no other unit's journal is shown. */
  readonly isAssigned: (unit: string) => boolean;
  /** The user manager's units are in another place of the journal. */
  readonly isUserManager: boolean;
  readonly log: Logger;
  /** For tests. Default `journalctl`. */
  readonly command?: string;
}

/** Unsent bytes above which the journal waits, and below which it goes on. */
const highWaterBytes = 256 * 1024;
const lowWaterBytes = 64 * 1024;
const connectTimeoutMs = 5_000;

/** Every user-given word is the tail of an argument that begins with its option, so none can become an option. */
export const journalArguments = ({ unit, lines, follow, since }: Omit<OpenLogs, 'type' | 'request'>, isUserManager: boolean): string[] => [
  '--output=short-iso',
  '--no-pager',
  '--quiet',
  `--lines=${lines}`,
  ...(follow ? ['--follow'] : []),
  ...(since === undefined ? [] : [`--since=${since}`]),
  ...(isUserManager ? ['--user', `--user-unit=${unit}`] : [`--unit=${unit}`]),
];

export class Logs {
  readonly #options: LogsOptions;
  readonly #open = new Map<string, LogStream>();

  constructor(options: LogsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  open(message: OpenLogs, server: string): void {
    const { request, unit } = message;
    const { log, isAssigned } = this.#options;
    const refusal = !isAssigned(unit)
      ? ([logsClose.notAssigned, `${unit} is not assigned to this machine`] as const)
      : this.#open.size >= maxLogsPerMachine
        ? ([logsClose.tooMany, `${maxLogsPerMachine} journals of this machine are being followed already`] as const)
        : undefined;
    const stream = new LogStream(message, server, this.#options, refusal, () => {
      if (this.#open.get(request) === stream) this.#open.delete(request);
      log.info('journal closed', { unit, request });
    });
    if (!refusal) this.#open.set(request, stream);
  }

  close(request: string): void {
    this.#open.get(request)?.end(logsClose.ended, '');
  }

  closeAll(): void {
    for (const stream of this.#open.values()) stream.end(logsClose.ended, 'the agent ends');
  }
}

class LogStream {
  readonly #socket: WebSocket;
  readonly #onEnd: () => void;
  #journal: ChildProcessByStdio<null, Readable, Readable> | undefined;
  #complaint = '';
  #hasEnded = false;

  constructor(message: OpenLogs, server: string, options: LogsOptions, refusal: readonly [number, string] | undefined, onEnd: () => void) {
    this.#onEnd = onEnd;
    this.#socket = new WebSocket(webSocketUrl(server, `/agent/v1/logs/${encodeURIComponent(message.request)}`), {
      ...tlsOptions(options.identity()),
      perMessageDeflate: false,
      handshakeTimeout: connectTimeoutMs,
    });
    this.#socket.on('error', (error) => {
      options.log.warn('log connection failed', { unit: message.unit, error: error.message });
      this.#stop();
    });
    this.#socket.on('close', () => this.#stop());
    this.#socket.on('open', () => {
      if (refusal) this.end(...refusal);
      else this.#start(options.command ?? 'journalctl', journalArguments(message, options.isUserManager));
    });
  }

  /** Ends the journal and tells the reader why. */
  end(code: number, reason: string): void {
    this.#socket.close(code, Buffer.from(reason).subarray(0, 120).toString());
    this.#stop();
  }

  #start(command: string, args: readonly string[]): void {
    if (this.#hasEnded) return;
    const journal = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C.UTF-8', SYSTEMD_COLORS: '0' },
    });
    this.#journal = journal;
    journal.on('error', (error) => this.end(logsClose.failed, error.message));
    journal.stderr.on('data', (chunk: Buffer) => {
      this.#complaint = (this.#complaint + chunk.toString()).slice(-500);
    });
    journal.stdout.on('data', (chunk: Buffer) => {
      this.#socket.send(chunk, () => {
        if (journal.stdout.isPaused() && this.#socket.bufferedAmount < lowWaterBytes) journal.stdout.resume();
      });
      if (this.#socket.bufferedAmount > highWaterBytes) journal.stdout.pause();
    });
    // `close` comes after the last byte; `exit` may come before it.
    journal.on('close', (code) => {
      this.#journal = undefined;
      if (code === 0 || this.#hasEnded) this.end(logsClose.ended, '');
      else this.end(logsClose.failed, this.#complaint.trim() || `journalctl ended with ${code}`);
    });
  }

  #stop(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    // It has nothing to save, and SIGKILL also ends one that stands still.
    this.#journal?.kill('SIGKILL');
    this.#onEnd();
  }
}

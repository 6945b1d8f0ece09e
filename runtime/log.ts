/**
 * Structured logs, and the only door to pino: a constant message says what happened, fields say to whom. JSON lines on stderr, or
 * lines for people; under systemd each line carries its priority, so `journalctl -p warning` finds the warnings.
 */
import { fstatSync, writeSync } from 'node:fs';
import { type Logger as Pino, pino } from 'pino';
import { type Clock, systemClock } from './clock.js';

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each of its lines. */
  child(fields: LogFields): Logger;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface LogOptions {
  /** `server`, `agent`, ...: stands on every line. */
  readonly component: string;
  readonly level?: LogLevel;
  /** `human` only where a person watches, as `flotilla dev` does. Default `json`. */
  readonly format?: 'json' | 'human';
  /** Prefix each line with sd-daemon(3)'s `<N>`. Default: whether stderr is the journal. */
  readonly journal?: boolean;
  readonly write?: (line: string) => void;
  readonly clock?: Clock;
}

const journalPriority: Record<LogLevel, string> = { debug: '<7>', info: '<6>', warn: '<4>', error: '<3>' };

export function createLogger(options: LogOptions): Logger {
  const { component, level = 'info', format = 'json', journal = stderrIsJournal(), write = writeToStderr, clock = systemClock } = options;
  const stream = {
    write(line: string): void {
      const entry = format === 'human' || journal ? (JSON.parse(line) as HumanEntry) : undefined;
      const shown = format === 'human' && entry ? humanLine(entry) : line;
      write(journal && entry ? journalPriority[entry.level] + shown : shown);
    },
  };
  const root = pino(
    {
      level,
      messageKey: 'message',
      base: { component },
      timestamp: () => `,"time":"${clock.now().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
  return wrap(root);
}

const wrap = (log: Pino): Logger => ({
  debug: (message, fields) => log.isLevelEnabled('debug') && log.debug(withoutSecrets(fields), message),
  info: (message, fields) => log.info(withoutSecrets(fields), message),
  warn: (message, fields) => log.warn(withoutSecrets(fields), message),
  error: (message, fields) => log.error(withoutSecrets(fields), message),
  child: (fields) => wrap(log.child(withoutSecrets(fields))),
});

/** For tests and for code that is used without a program around it. */
export const silentLogger: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => silentLogger };

// What a value may be called by is all that we can know of it: text of units and manifests may hold secrets as well as any password.
const secretName =
  /pass(word|wd|phrase)|secret|token|authorization|cookie|credential|private_?key|^(content|contents|text|sections|data|stringData|body|spec|value)$/i;
const privateKey = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g;
const urlCredentials = /(\w+:\/\/)[^\s/@]+@/g;
const redacted = '[redacted]';

const maxDepth = 5;
const maxItems = 50;
const maxStringLength = 4_096;

/** The fields as they may be written: no value under a secret's name, no private key, no password in a URL, nothing endless. */
export function withoutSecrets(fields: LogFields = {}): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, secretName.test(name) ? redacted : clean(value, 1)]));
}

function clean(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return cleanString(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return undefined;
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return value;
  if (depth >= maxDepth) return '[deep]';
  if (value instanceof Error) return cleanError(value, depth);
  if (value instanceof Map) return clean(Object.fromEntries(value), depth);
  if (value instanceof Set) return clean([...value], depth);
  if (Array.isArray(value)) {
    const shown = value.slice(0, maxItems).map((item) => clean(item, depth + 1));
    return value.length > maxItems ? [...shown, `[${value.length - maxItems} more]`] : shown;
  }
  const shown = Object.entries(value)
    .slice(0, maxItems)
    .map(([name, item]) => [name, secretName.test(name) ? redacted : clean(item, depth + 1)]);
  return Object.fromEntries(shown);
}

function cleanString(text: string): string {
  const safe = text.replace(privateKey, redacted).replace(urlCredentials, `$1${redacted}@`);
  return safe.length > maxStringLength ? `${safe.slice(0, maxStringLength)}[${safe.length - maxStringLength} more]` : safe;
}

function cleanError(error: Error, depth: number): Record<string, unknown> {
  const code = (error as { code?: unknown }).code;
  return {
    type: error.name,
    message: cleanString(error.message),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...(error.stack ? { stack: cleanString(error.stack) } : {}),
    ...(error.cause !== undefined ? { cause: clean(error.cause, depth + 1) } : {}),
  };
}

type HumanEntry = { level: LogLevel; time: string; component: string; message: string } & Record<string, unknown>;

function humanLine({ level, time, component, message, ...fields }: HumanEntry): string {
  const rest = Object.entries(fields).map(([name, value]) => ` ${name}=${humanValue(value)}`);
  return `${time.slice(11, 23)} ${level.toUpperCase().padEnd(5)} ${component}: ${message}${rest.join('')}\n`;
}

function humanValue(value: unknown): string {
  if (typeof value === 'string') return /^[\w./:@+-]+$/.test(value) ? value : JSON.stringify(value);
  if (typeof value === 'object' && value !== null && 'stack' in value && 'message' in value) return JSON.stringify(value.message);
  return JSON.stringify(value);
}

/** As systemd asks (systemd.exec(5), JOURNAL_STREAM): the variable may be inherited, so it must name the stream that stderr really is. */
function stderrIsJournal(): boolean {
  const named = process.env.JOURNAL_STREAM;
  if (!named) return false;
  try {
    const { dev, ino } = fstatSync(2);
    return named === `${dev}:${ino}`;
  } catch {
    return false; // stderr is closed: nobody reads the lines, prefixed or not.
  }
}

/** At once and in order, so that the last line before a crash is there. */
function writeToStderr(line: string): void {
  try {
    writeSync(2, line);
  } catch (error) {
    // A pipe that is full or gone must not take the program down, and there is no other place to say so.
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EAGAIN' && code !== 'EPIPE' && code !== 'EBADF' && code !== 'ENOSPC') throw error;
  }
}

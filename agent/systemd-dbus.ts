/**
 * systemd over D-Bus, and the only door to dbus-next. Of that library only marshalling, authentication and sending are used: it never
 * says that the bus is gone, lets calls hang for ever, leaks match rules through its proxy objects and answers our own exceptions to the
 * sender. So every call has a timeout here, the socket's own end is watched, and the one set of match rules goes with its connection.
 */
import type { Duplex } from 'node:stream';
import dbus from 'dbus-next';
import { type Clock, type Random, sleep } from '../runtime/clock.js';
import type { Logger } from '../runtime/log.js';
import { commandProperties, failedCommand, isUnexplained } from './failed-command.js';
import { sharedWork } from './shared-work.js';
import { type Job, NoAnswer, type SeenUnit, type Systemd, SystemdError, type SystemdListener, type UnitDetails } from './systemd.js';
import { Jobs } from './systemd-jobs.js';
import {
  runFacts,
  runProperties,
  seenUnit,
  serviceFacts,
  serviceInterface,
  serviceProperties,
  systemd,
  text,
  type UnitRow,
  unitChange,
  unitInterface,
  type Values,
} from './systemd-values.js';
import { unitName, unitPath } from './unit-path.js';

export interface SystemdDbusOptions {
  /** D-Bus address. Default: the system bus. */
  readonly address?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Told of each call: `ok`, `error` (systemd refused) or `no_answer`, and how many milliseconds it took, without the wait for a slot. */
  readonly onCall?: (method: string, result: 'ok' | 'error' | 'no_answer', ms: number) => void;
}

export const systemBusAddress = 'unix:path=/run/dbus/system_bus_socket';

/** A daemon-reload with thousands of units holds every answer back for seconds. */
const callTimeoutMs = 30_000;
const connectTimeoutMs = 10_000;
const firstRetryMs = 100;
const maxRetryMs = 5_000;
/** The bus allows a connection 128 calls without an answer. */
const maxOpenCalls = 100;

const bus = { name: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus' } as const;
const manager = { path: '/org/freedesktop/systemd1', interface: `${systemd}.Manager` } as const;
const properties = 'org.freedesktop.DBus.Properties';

/** All that is ever subscribed to: what moves jobs and states, nothing else (a start alone sends a dozen signals). */
const matchRules = [
  `type='signal',sender='${bus.name}',path='${bus.path}',interface='${bus.name}',member='NameOwnerChanged',arg0='${systemd}'`,
  `type='signal',sender='${systemd}',path='${manager.path}',interface='${manager.interface}',member='JobRemoved'`,
  `type='signal',sender='${systemd}',path='${manager.path}',interface='${manager.interface}',member='Reloading'`,
  `type='signal',sender='${systemd}',interface='${properties}',member='PropertiesChanged',arg0='${unitInterface}'`,
  `type='signal',sender='${systemd}',interface='${properties}',member='PropertiesChanged',arg0='${serviceInterface}'`,
];

export function openSystemdDbus(options: SystemdDbusOptions): Systemd {
  return new SystemdDbus(options);
}

/** The parts of a MessageBus that dbus-next keeps to itself and that cannot be done without. */
interface Internals {
  readonly _connection: { readonly stream: Duplex };
  readonly _methodReturnHandlers: Record<number, unknown>;
}

interface Pending {
  readonly method: string;
  resolve(body: readonly unknown[]): void;
  reject(error: Error): void;
}

/** One connection's life; a lost connection is never mended, the next one is another object. */
interface Connection {
  readonly bus: dbus.MessageBus;
  readonly pending: Map<number, Pending>;
  /** Unique name that owns org.freedesktop.systemd1: the only sender whose signals count. '' while nobody does. */
  owner: string;
}

interface CallTarget {
  readonly destination?: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly body?: readonly unknown[];
}

class SystemdDbus implements Systemd {
  readonly #options: SystemdDbusOptions;
  readonly #listeners = new Set<SystemdListener>();
  readonly #jobs: Jobs;
  readonly #closing = new AbortController();
  #connection: Connection | undefined;
  #isConnected = false;
  #openCalls = 0;
  readonly #callsWaiting: (() => void)[] = [];
  readonly reload = sharedWork(async () => void (await this.#manager('Reload')));

  constructor(options: SystemdDbusOptions) {
    this.#options = options;
    this.#jobs = new Jobs({
      clock: options.clock,
      call: (member, signature, body) => this.#manager(member, signature, body),
      onForeign: (name, result) => this.#tell('foreignJobEnded', (listener) => listener.foreignJobEnded?.(name, result)),
    });
    void this.#stayConnected();
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  listen(listener: SystemdListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async list(names: readonly string[]): Promise<ReadonlyMap<string, SeenUnit>> {
    if (names.length === 0) return new Map();
    const [rows] = (await this.#manager('ListUnitsByNames', 'as', [names])) as [UnitRow[]];
    // systemd answers in the order of the names, under the unit's own name where ours is an alias.
    if (rows.length !== names.length) throw new SystemdError('flotilla.Rows', `asked for ${names.length} units, got ${rows.length} rows`);
    return new Map(names.map((name, index) => [name, seenUnit(rows[index]!)]));
  }

  async details(name: string): Promise<UnitDetails> {
    const path = unitPath(name);
    const read = async (from: string, names: readonly string[]): Promise<Values> => {
      const values = await Promise.all(names.map((property) => this.#property(path, from, property)));
      return (property) => values[names.indexOf(property)];
    };
    const isService = name.endsWith('.service');
    const [unit, service] = await Promise.all([
      read(unitInterface, runProperties),
      read(serviceInterface, isService ? serviceProperties : []),
    ]);
    const type = text(service('Type'));
    let facts = serviceFacts(service);
    if (isUnexplained(facts)) {
      const commands = await read(serviceInterface, commandProperties);
      facts = { ...facts, ...failedCommand(commandProperties.map(commands)) };
    }
    return { run: runFacts(unit), ...(isService ? { service: facts } : {}), ...(type === undefined ? {} : { type }) };
  }

  async fragmentPath(name: string): Promise<string> {
    return (await this.#property(unitPath(name), unitInterface, 'FragmentPath')) as string;
  }

  async loadError(name: string): Promise<string | undefined> {
    const [, message] = (await this.#property(unitPath(name), unitInterface, 'LoadError')) as [string, string];
    return message === '' ? undefined : message;
  }

  async wantedBy(name: string): Promise<readonly string[]> {
    return (await this.#property(unitPath(name), unitInterface, 'WantedBy')) as string[];
  }

  async needsReload(name: string): Promise<boolean> {
    return (await this.#property(unitPath(name), unitInterface, 'NeedDaemonReload')) === true;
  }

  async controlGroup(name: string): Promise<string | undefined> {
    const type = name.slice(name.lastIndexOf('.') + 1);
    if (!['service', 'socket', 'mount', 'swap'].includes(type)) return undefined;
    const group = await this.#property(unitPath(name), `${systemd}.${type[0]!.toUpperCase()}${type.slice(1)}`, 'ControlGroup');
    return typeof group === 'string' && group !== '' ? group : undefined;
  }

  start(name: string): Promise<Job> {
    return this.#jobs.run('StartUnit', name);
  }

  stop(name: string): Promise<Job> {
    return this.#jobs.run('StopUnit', name);
  }

  async resetFailed(name: string): Promise<void> {
    try {
      await this.#manager('ResetFailedUnit', 's', [name]);
    } catch (error) {
      // systemd 252 says so of every unit that it has let go of already, which is what was asked for.
      if (!(error instanceof SystemdError && error.code === `${systemd}.NoSuchUnit`)) throw error;
    }
  }

  async about(): Promise<{ unitPath: readonly string[]; version: string }> {
    const [paths, version] = await Promise.all([
      this.#property(manager.path, manager.interface, 'UnitPath') as Promise<string[]>,
      this.#property(manager.path, manager.interface, 'Version') as Promise<string>,
    ]);
    return { unitPath: paths, version };
  }

  close(): void {
    this.#closing.abort();
    if (this.#connection) this.#lose(this.#connection, 'closed by us');
  }

  // ── calls ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #manager(member: string, signature = '', body: readonly unknown[] = []): Promise<readonly unknown[]> {
    return this.#call({ ...manager, member, signature, body });
  }

  async #property(path: string, from: string, name: string): Promise<unknown> {
    const [value] = await this.#call({ path, interface: properties, member: 'Get', signature: 'ss', body: [from, name] });
    return (value as dbus.Variant).value;
  }

  async #call(target: CallTarget): Promise<readonly unknown[]> {
    if (this.#openCalls >= maxOpenCalls) await new Promise<void>((resolve) => this.#callsWaiting.push(resolve));
    else this.#openCalls += 1;
    const { clock, onCall } = this.#options;
    const startedMs = clock.monotonicMs();
    const ended = (result: 'ok' | 'error' | 'no_answer') => onCall?.(target.member, result, clock.monotonicMs() - startedMs);
    try {
      const connection = this.#connection;
      if (!connection || !this.#isConnected) throw new NoAnswer(`${target.member}: not connected to systemd`);
      const answer = await this.#send(connection, target);
      ended('ok');
      return answer;
    } catch (error) {
      ended(error instanceof SystemdError ? 'error' : 'no_answer');
      throw error;
    } finally {
      const next = this.#callsWaiting.shift();
      if (next) next();
      else this.#openCalls -= 1;
    }
  }

  #send(connection: Connection, { destination = systemd, signature = '', body = [], ...target }: CallTarget): Promise<readonly unknown[]> {
    return new Promise((resolve, reject) => {
      const serial = connection.bus.newSerial();
      const settle = () => {
        cancel();
        connection.pending.delete(serial);
      };
      const pending: Pending = {
        method: target.member,
        resolve: (answer) => {
          settle();
          resolve(answer);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      const cancel = this.#options.clock.after(callTimeoutMs, () =>
        pending.reject(new NoAnswer(`${target.member}: no answer within ${callTimeoutMs / 1_000} s`)),
      );
      connection.pending.set(serial, pending);
      try {
        connection.bus.send(new dbus.Message({ ...target, destination, signature, body: [...body], serial }));
      } catch (error) {
        pending.reject(new NoAnswer(`${target.member}: ${(error as Error).message}`, { cause: error }));
      }
    });
  }

  // ── the connection ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #stayConnected(): Promise<void> {
    const { clock, random, log } = this.#options;
    const { signal } = this.#closing;
    let retryMs = firstRetryMs;
    while (!signal.aborted) {
      try {
        const lost = await this.#connect();
        retryMs = firstRetryMs;
        const why = await lost;
        if (!signal.aborted) log.warn('systemd connection lost', { why });
      } catch (error) {
        log.warn('systemd is not reachable', { error: (error as Error).message, retry_ms: Math.round(retryMs) });
      }
      await sleep(clock, retryMs * (0.5 + random()), signal);
      retryMs = Math.min(retryMs * 2, maxRetryMs);
    }
  }

  /** Resolves when everything is subscribed; the promise inside resolves with the reason when that connection is lost. */
  async #connect(): Promise<Promise<string>> {
    const connection: Connection = {
      bus: dbus.sessionBus({ busAddress: this.#options.address ?? systemBusAddress }),
      pending: new Map(),
      owner: '',
    };
    this.#connection = connection;
    const { _connection, _methodReturnHandlers } = connection.bus as unknown as Internals;
    const lost = new Promise<string>((resolve) => {
      connection.bus.on('error', (error: Error) => {
        this.#lose(connection, error.message);
        resolve(error.message);
      });
      _connection.stream.on('close', () => {
        this.#lose(connection, 'the bus closed the connection');
        resolve('the bus closed the connection');
      });
    });
    const greeted = new Promise<void>((resolve, reject) => {
      connection.bus.on('connect', () => resolve());
      connection.bus.on('message', (message) => {
        const serial = Number(message.replySerial);
        if (message.type === dbus.MessageType.ERROR && serial in _methodReturnHandlers) {
          // Hello is the one call that dbus-next makes itself. Refused, it would become an unhandled rejection and end the process.
          delete _methodReturnHandlers[serial];
          reject(refusal(message));
        } else this.#receive(connection, message);
      });
      void lost.then((why) => reject(new Error(why)));
    });
    try {
      await this.#within(greeted, connectTimeoutMs);
      await Promise.all(matchRules.map((rule) => this.#send(connection, { ...busCall('AddMatch'), signature: 's', body: [rule] })));
      await this.#adoptOwner(connection);
    } catch (error) {
      this.#lose(connection, (error as Error).message);
      throw error;
    }
    return lost;
  }

  async #within(promise: Promise<void>, limitMs: number): Promise<void> {
    let cancel = () => {};
    const timeout = new Promise<never>((_, reject) => {
      cancel = this.#options.clock.after(limitMs, () => reject(new NoAnswer(`no connection within ${limitMs / 1_000} s`)));
    });
    await Promise.race([promise, timeout]).finally(() => cancel());
  }

  /** Learns who systemd is on this bus and asks it for signals; then the world may look again. */
  async #adoptOwner(connection: Connection): Promise<void> {
    const [owner] = (await this.#send(connection, { ...busCall('GetNameOwner'), signature: 's', body: [systemd] })) as [string];
    connection.owner = owner;
    try {
      await this.#send(connection, { ...manager, member: 'Subscribe' });
    } catch (error) {
      if (!(error instanceof SystemdError && error.code === `${systemd}.AlreadySubscribed`)) throw error;
    }
    // The answer and the signal of a systemd that is just coming may both lead here.
    if (this.#connection !== connection || this.#isConnected) return;
    this.#isConnected = true;
    this.#options.log.info('systemd connected');
    this.#tell('connected', (listener) => listener.connected?.());
  }

  #lose(connection: Connection, why: string): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    const wasConnected = this.#isConnected;
    this.#isConnected = false;
    (connection.bus as unknown as Internals)._connection.stream.destroy();
    for (const pending of [...connection.pending.values()]) pending.reject(new NoAnswer(`${pending.method}: ${why}`));
    this.#jobs.loseAll();
    if (wasConnected) this.#tell('disconnected', (listener) => listener.disconnected?.(why));
  }

  // ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Nothing may be thrown from here: dbus-next would send the stack to whoever sent the message. */
  #receive(connection: Connection, message: dbus.Message): void {
    try {
      if (message.type === dbus.MessageType.SIGNAL) this.#signal(connection, message);
      else if (message.type !== dbus.MessageType.METHOD_CALL) {
        const pending = connection.pending.get(Number(message.replySerial));
        if (message.type === dbus.MessageType.ERROR) pending?.reject(refusal(message));
        else pending?.resolve(message.body);
      }
    } catch (error) {
      this.#options.log.error('bad message from the bus', { member: message.member, error: (error as Error).message });
    }
  }

  #signal(connection: Connection, message: dbus.Message): void {
    if (message.sender === bus.name) {
      if (message.member === 'NameOwnerChanged' && message.body[0] === systemd) this.#ownerChanged(connection, String(message.body[2]));
      return;
    }
    // Any local user can send us a signal that claims to be systemd's.
    if (message.sender !== connection.owner) return;
    switch (message.member) {
      case 'JobRemoved': {
        const [id, , name, result] = message.body as [number, string, string, string];
        this.#jobs.removed(id, name, result);
        return;
      }
      case 'Reloading':
        if (message.body[0] !== false) return;
        this.#jobs.reloaded();
        this.#tell('reloaded', (listener) => listener.reloaded?.());
        return;
      case 'PropertiesChanged': {
        const name = unitName(message.path);
        if (name === undefined) return;
        const [from, values] = message.body as [string, Record<string, dbus.Variant>];
        const change = unitChange(from, (property) => values[property]?.value as unknown);
        if (change) this.#tell('changed', (listener) => listener.changed?.(name, change));
        return;
      }
    }
  }

  /** systemd left the bus, or a new one (after daemon-reexec) took its name. */
  #ownerChanged(connection: Connection, owner: string): void {
    if (this.#connection !== connection || owner === connection.owner) return;
    connection.owner = owner;
    const wasConnected = this.#isConnected;
    this.#isConnected = false;
    this.#jobs.loseAll();
    if (wasConnected) this.#tell('disconnected', (listener) => listener.disconnected?.('systemd left the bus'));
    if (owner !== '') this.#adoptOwner(connection).catch((error: Error) => this.#lose(connection, error.message));
  }

  /** A listener's fault must not end the dispatch of the others. */
  #tell(what: string, tell: (listener: SystemdListener) => void): void {
    for (const listener of this.#listeners) {
      try {
        tell(listener);
      } catch (error) {
        this.#options.log.error('listener failed', { what, error: (error as Error).message });
      }
    }
  }
}

const busCall = (member: string) => ({ destination: bus.name, path: bus.path, interface: bus.name, member });

const refusal = (message: dbus.Message): Error => {
  const text = typeof message.body[0] === 'string' ? message.body[0] : message.errorName;
  const isUnknown = message.errorName === `${bus.name}.Error.NoReply` || message.errorName === `${bus.name}.Error.Disconnected`;
  return isUnknown ? new NoAnswer(text) : new SystemdError(message.errorName, text);
};

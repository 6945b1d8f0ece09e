/** What systemd says on the bus, in our terms: rows, properties and times, with its ways of saying "not set" taken out. Pure. */
import { exitCodes } from './failed-command.js';
import type { RunFacts, SeenUnit, ServiceFacts, UnitChange } from './systemd.js';

export const systemd = 'org.freedesktop.systemd1';
export const unitInterface = `${systemd}.Unit`;
export const serviceInterface = `${systemd}.Service`;

/** A row of ListUnitsByNames. */
export type UnitRow = [
  id: string,
  description: string,
  load: string,
  active: string,
  sub: string,
  following: string,
  path: string,
  jobId: number,
  jobType: string,
  jobPath: string,
];

export const seenUnit = ([id, , load, active, sub, , , jobId, jobType]: UnitRow): SeenUnit => ({
  id,
  load,
  active,
  sub,
  ...(jobId ? { job: jobType } : {}),
});

export const runProperties = ['StateChangeTimestamp', 'ActiveEnterTimestamp', 'InvocationID'] as const;
export const serviceProperties = ['Type', 'Result', 'MainPID', 'NRestarts', 'ExecMainCode', 'ExecMainStatus'] as const;

const unset = 0xffff_ffff_ffff_ffffn;

/** A number that JavaScript can hold; systemd's "not set" is absent. */
const number = (value: unknown): number | undefined => {
  if (typeof value === 'bigint') return value === unset ? undefined : Number(value);
  return typeof value === 'number' ? value : undefined;
};

/** Microseconds since the epoch, where 0 is "never", as milliseconds. */
const timestamp = (value: unknown): number | undefined => {
  const microseconds = number(value);
  return microseconds ? Math.floor(microseconds / 1_000) : undefined;
};

export const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

const hex = (value: unknown): string | undefined => {
  const bytes = Buffer.isBuffer(value) ? value : Array.isArray(value) ? Buffer.from(value as number[]) : undefined;
  return bytes?.length === 16 ? bytes.toString('hex') : undefined;
};

/** Keeps what has a value. */
const present = <T extends object>(values: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]?: Exclude<T[Key], undefined>;
  };

/** Values of properties by name; undefined for those that are not there. */
export type Values = (property: string) => unknown;

/** What a PropertiesChanged of a unit tells; undefined when it is nothing that counts. */
export const unitChange = (from: string, values: Values): UnitChange | undefined => {
  if (from === serviceInterface) return { of: 'service', service: serviceFacts(values) };
  const [active, sub] = [text(values('ActiveState')), text(values('SubState'))];
  return active === undefined || sub === undefined ? undefined : { of: 'unit', active, sub, run: runFacts(values) };
};

export const runFacts = (values: Values): RunFacts =>
  present({
    sinceMs: timestamp(values('StateChangeTimestamp')),
    activeSinceMs: timestamp(values('ActiveEnterTimestamp')),
    invocationID: hex(values('InvocationID')),
  });

export const serviceFacts = (values: Values): ServiceFacts => {
  // Until the main process has ended, its exit status is 0 and means nothing.
  const exitCode = exitCodes[number(values('ExecMainCode')) ?? 0];
  return present({
    result: text(values('Result')),
    mainPID: number(values('MainPID')) || undefined,
    restarts: number(values('NRestarts')),
    exitCode,
    exitStatus: exitCode === undefined ? undefined : number(values('ExecMainStatus')),
  });
};

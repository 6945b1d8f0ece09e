/**
 * What the agent remembers of what it did, on disk, so that a new agent neither starts a unit twice nor restarts what runs
 * (SEMANTICS 11, 12; invariant 5).
 */
import { z } from 'zod';
import type { Logger } from '../runtime/log.js';
import type { StateFiles } from './files.js';
import { sharedWork } from './shared-work.js';

/** A unit is started once per key. */
export const StartKey = z.object({
  uid: z.string(),
  /** Hash of the text without comments and [X-*] sections. */
  restartHash: z.string(),
  /** The assignment's restart request. */
  restart: z.string().optional(),
  /** Boot id. */
  boot: z.string(),
});
export type StartKey = z.infer<typeof StartKey>;

const Start = z.object({
  ...StartKey.shape,
  /** sha256 of the whole text: what is reported as running. */
  textHash: z.string(),
});
export type Start = z.infer<typeof Start>;

export const UnitRecord = z.object({
  uid: z.string(),
  /** Generation that was last carried out; absent until the first was. */
  generation: z.int().optional(),
  template: z.object({ uid: z.string(), generation: z.int() }).optional(),
  started: Start.optional(),
  /** Written before systemd is asked, with the unit's invocation at that time: after a crash the invocation tells whether it was started. */
  starting: z.object({ ...Start.shape, invocationBefore: z.string() }).optional(),
  /** It is no longer wanted launched and is being stopped: whatever it was started for counts no more. */
  stopping: z.boolean().optional(),
  /** The text that systemd would not load, and its words for it. */
  refused: z.object({ uid: z.string(), textHash: z.string(), restart: z.string().optional(), message: z.string() }).optional(),
  /** Something smaller that could not be done: an alias that is taken. */
  warning: z.object({ reason: z.string(), message: z.string() }).optional(),
});
export type UnitRecord = z.infer<typeof UnitRecord>;

const RecordFile = z.object({ version: z.literal(1), units: z.record(z.string(), UnitRecord) });
const concern = 'records';

export const sameStart = (a: StartKey | undefined, b: StartKey): boolean =>
  a !== undefined && a.uid === b.uid && a.restartHash === b.restartHash && a.restart === b.restart && a.boot === b.boot;

/** All records in memory, and one file that follows. */
export class Records {
  readonly #log: Logger;
  readonly #units: Map<string, UnitRecord>;
  /** Resolves when everything that was set before the call is safely on disk. */
  readonly flush: () => Promise<void>;

  private constructor(files: StateFiles, log: Logger, units: Map<string, UnitRecord>) {
    this.#log = log;
    this.#units = units;
    this.flush = sharedWork(() =>
      files.write(concern, { version: 1, units: Object.fromEntries(units) } satisfies z.infer<typeof RecordFile>),
    );
  }

  static async open(files: StateFiles, log: Logger): Promise<Records> {
    const stored = await files.read(concern);
    const parsed = RecordFile.safeParse(stored);
    if (stored !== undefined && !parsed.success) log.error('records are not as they should be; going on without them');
    return new Records(files, log, new Map(Object.entries(parsed.data?.units ?? {})));
  }

  get(name: string): UnitRecord | undefined {
    return this.#units.get(name);
  }

  names(): string[] {
    return [...this.#units.keys()];
  }

  /** Changes what is remembered at once, and on disk soon. */
  set(name: string, record: UnitRecord | undefined): void {
    if (record) this.#units.set(name, record);
    else this.#units.delete(name);
    this.flush().catch((error: Error) => this.#log.error('records could not be written', { error: error.message }));
  }
}

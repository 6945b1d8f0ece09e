/**
 * What the agent remembers of what it did in this boot, so that a new agent neither starts a unit twice nor restarts what runs
 * (SEMANTICS 11, 12; invariant 5). After the next boot none of it would count: everything starts anew.
 */
import { z } from 'zod';
import type { Logger } from '../runtime/log.js';
import type { NoteFiles } from './files.js';

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
  /** How the last start job ended, when it left the unit down and its state does not tell why. */
  unstarted: z.object({ reason: z.string(), message: z.string() }).optional(),
  /** Something smaller that could not be done: an alias that is taken. */
  warning: z.object({ reason: z.string(), message: z.string() }).optional(),
});
export type UnitRecord = z.infer<typeof UnitRecord>;

export const sameStart = (a: StartKey | undefined, b: StartKey): boolean =>
  a !== undefined && a.uid === b.uid && a.restartHash === b.restartHash && a.restart === b.restart && a.boot === b.boot;

/** All records, in memory and in the notes beside the unit files. */
export class Records {
  readonly #files: NoteFiles;
  readonly #units = new Map<string, UnitRecord>();

  constructor(files: NoteFiles, log: Logger) {
    this.#files = files;
    for (const [name, note] of files.notes()) {
      const parsed = UnitRecord.safeParse(note);
      if (parsed.success) this.#units.set(name, parsed.data);
      else log.error('a record is not as it should be; going on without it', { unit: name });
    }
  }

  get(name: string): UnitRecord | undefined {
    return this.#units.get(name);
  }

  names(): string[] {
    return [...this.#units.keys()];
  }

  /** Kept from here on, whatever becomes of the agent's process. Undefined forgets the unit. */
  set(name: string, record: UnitRecord | undefined): void {
    this.#files.note(name, record);
    if (record) this.#units.set(name, record);
    else this.#units.delete(name);
  }
}

/**
 * The files that the agent keeps: unit files and enable links where systemd looks for them, gone at boot, and its own memory under the
 * state directory. A unit file is old or new, never half, after a crash at any step (invariant 14); a file without our marker is never
 * touched (invariant 6).
 */
import type { InstallLink, OwnFile } from './unit-text.js';

/** Synchronous: they live on a tmpfs, where a write is memory and the way through the thread pool costs many times more. */
export interface UnitFiles {
  /** Names of all units that have a file of ours. */
  names(): string[];
  /** 'foreign' when something that is not ours lies there, a link or a directory too. */
  read(name: string): OwnFile | 'foreign' | undefined;
  /** Writes the new file beside the unit directory, safely on disk. */
  stage(name: string, file: OwnFile): void;
  /** Puts the staged file in place, at once; the one that it replaces is kept until `settle`. Throws `ForeignFile`. */
  commit(name: string): void;
  /** The file that the current one replaced. */
  previous(name: string): OwnFile | undefined;
  /** Puts the replaced file back. */
  rollBack(name: string): void;
  /** Lets go of the replaced file: systemd has taken the new one. */
  settle(name: string): void;
  /** Removes file, leftovers and links. Throws `ForeignFile`. */
  remove(name: string): void;
  /** Makes the unit's links exactly these. A path where something else lies is left alone and returned. */
  link(name: string, links: readonly InstallLink[]): string[];
  /** The unit's path as systemd names it in FragmentPath. */
  path(name: string): string;
}

/**
 * One note per unit, beside the unit files and gone at boot like them: what it says is about this boot. Synchronous for the same reason;
 * a note that was written outlives the agent's process, and nothing of it is needed after the machine.
 */
export interface NoteFiles {
  /** All notes, by the unit's name; one that cannot be read is left out, and the log says why. */
  notes(): ReadonlyMap<string, unknown>;
  /** Undefined takes the note away. */
  note(name: string, value: unknown): void;
}

/** Something that is not ours lies where ours should be. */
export class ForeignFile extends Error {
  override readonly name = 'ForeignFile';
}

/** One JSON value per concern, each replaced as a whole. */
export interface StateFiles {
  /** Undefined when there is none, or when what is there cannot be read: then the caller starts without it, and the log says why. */
  read(concern: string): Promise<unknown>;
  /** Resolves when it is safely on disk. */
  write(concern: string, value: unknown): Promise<void>;
}

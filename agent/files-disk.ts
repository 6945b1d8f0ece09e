/** The real unit directory, and the real state directory. */
import {
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { unitNameProblem } from '../api/resources/unit-name.js';
import { type Logger, silentLogger } from '../runtime/log.js';
import { ForeignFile, type NoteFiles, type StateFiles, type UnitFiles } from './files.js';
import { type InstallLink, type OwnFile, parseOwnFile, renderOwnFile } from './unit-text.js';

/** Steps at which a test lets the agent die: `after` each the disk must hold the old or the new. */
export type Failpoint = (
  step: 'staged' | 'synced' | 'kept' | 'committed' | 'unlinked' | 'removed' | 'rolled-back' | 'noted' | 'state-written' | 'state-renamed',
) => void;

export interface DiskUnitFilesOptions {
  /** `/run/systemd/system`, or the user manager's `$XDG_RUNTIME_DIR/systemd/user`. */
  readonly directory: string;
  readonly log?: Logger;
  readonly failpoint?: Failpoint;
}

const dependencyDirectory = /\.(wants|requires)$/;

export class DiskUnitFiles implements UnitFiles, NoteFiles {
  readonly #directory: string;
  /** On the same file system, so that a rename moves; and not inside, where each change makes systemd look through all files again. */
  readonly #staging: string;
  readonly #failpoint: Failpoint;
  readonly #log: Logger;

  constructor({ directory, log = silentLogger, failpoint = () => {} }: DiskUnitFilesOptions) {
    this.#log = log;
    this.#directory = directory;
    this.#staging = `${directory}.flotilla`;
    this.#failpoint = failpoint;
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    for (const part of ['new', 'old', 'notes']) mkdirSync(join(this.#staging, part), { recursive: true, mode: 0o700 });
  }

  names(): string[] {
    return readdirSync(this.#directory, { withFileTypes: true })
      .filter((entry) => entry.isFile() && unitNameProblem(entry.name) === undefined && isOwn(this.read(entry.name)))
      .map((entry) => entry.name)
      .sort();
  }

  read(name: string): OwnFile | 'foreign' | undefined {
    return readUnit(this.path(name));
  }

  stage(name: string, file: OwnFile): void {
    const path = this.#staged(name);
    rmSync(path, { force: true });
    const descriptor = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o644);
    try {
      writeAll(descriptor, renderOwnFile(file));
      this.#failpoint('staged');
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    this.#failpoint('synced');
  }

  commit(name: string): void {
    const path = this.path(name);
    const current = this.read(name);
    if (current === 'foreign') throw new ForeignFile(`${path} is not ours`);
    if (current) {
      rmSync(this.#kept(name), { force: true });
      linkSync(path, this.#kept(name));
    }
    this.#failpoint('kept');
    renameSync(this.#staged(name), path);
    this.#announce();
    this.#failpoint('committed');
  }

  previous(name: string): OwnFile | undefined {
    const kept = readUnit(this.#kept(name));
    return isOwn(kept) ? kept : undefined;
  }

  rollBack(name: string): void {
    if (this.read(name) === 'foreign') throw new ForeignFile(`${this.path(name)} is not ours`);
    renameSync(this.#kept(name), this.path(name));
    this.#announce();
    this.#failpoint('rolled-back');
  }

  settle(name: string): void {
    rmSync(this.#kept(name), { force: true });
  }

  remove(name: string): void {
    const path = this.path(name);
    const current = this.read(name);
    if (current === 'foreign') throw new ForeignFile(`${path} is not ours`);
    this.link(name, []);
    this.#failpoint('unlinked');
    if (current) {
      unlinkSync(path);
      this.#announce();
    }
    this.#failpoint('removed');
    rmSync(this.#staged(name), { force: true });
    rmSync(this.#kept(name), { force: true });
  }

  link(name: string, links: readonly InstallLink[]): string[] {
    const wanted = new Set(links.map(({ path }) => path));
    for (const path of this.#links(name)) {
      if (wanted.delete(path)) continue;
      unlinkSync(join(this.#directory, path));
      removeIfEmpty(dirname(join(this.#directory, path)), this.#directory);
    }
    const refused: string[] = [];
    for (const path of wanted) {
      const from = join(this.#directory, path);
      mkdirSync(dirname(from), { recursive: true, mode: 0o755 });
      try {
        symlinkSync(path.includes('/') ? `../${name}` : name, from);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        refused.push(path);
      }
    }
    return refused;
  }

  path(name: string): string {
    const problem = unitNameProblem(name);
    if (problem !== undefined) throw new Error(problem);
    return join(this.#directory, name);
  }

  /**
   * Makes the change safe, and visible to systemd: it looks through the directory again only when its time stamp is another one, and
   * kernels before 6.13 stamp by the clock's tick, so that a second change within a tick would not be seen.
   */
  #announce(): void {
    syncDirectory(this.#directory);
    const now = (performance.timeOrigin + performance.now()) / 1_000;
    utimesSync(this.#directory, now, now);
  }

  notes(): ReadonlyMap<string, unknown> {
    const notes = new Map<string, unknown>();
    for (const name of readdirSync(join(this.#staging, 'notes'))) {
      if (unitNameProblem(name) !== undefined) continue;
      try {
        notes.set(name, JSON.parse(readFileSync(this.#beside('notes', name), 'utf8')));
      } catch (error) {
        this.#log.error('a note cannot be read; going on without it', { unit: name, error: (error as Error).message });
      }
    }
    return notes;
  }

  note(name: string, value: unknown): void {
    const path = this.#beside('notes', name);
    if (value === undefined) {
      rmSync(path, { force: true });
      return;
    }
    const fresh = join(this.#staging, 'note');
    writeFileSync(fresh, JSON.stringify(value), { mode: 0o600 });
    this.#failpoint('noted');
    renameSync(fresh, path);
  }

  /** Links to the unit's file that exist, relative to the directory. */
  #links(name: string): string[] {
    const found: string[] = [];
    for (const entry of readdirSync(this.#directory, { withFileTypes: true })) {
      if (entry.isSymbolicLink() && this.#pointsTo(name, entry.name)) found.push(entry.name);
      const dependent = `${entry.name}/${name}`;
      if (entry.isDirectory() && dependencyDirectory.test(entry.name) && this.#pointsTo(name, dependent)) found.push(dependent);
    }
    return found;
  }

  #pointsTo(name: string, path: string): boolean {
    try {
      const target = readlinkSync(join(this.#directory, path));
      return join(this.#directory, dirname(path), target) === this.path(name);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'EINVAL') return false;
      throw error;
    }
  }

  #staged(name: string): string {
    return this.#beside('new', name);
  }

  #kept(name: string): string {
    return this.#beside('old', name);
  }

  /** A directory for each kind, because a unit's name may be as long as a file name can be. */
  #beside(kind: 'new' | 'old' | 'notes', name: string): string {
    if (unitNameProblem(name) !== undefined) throw new Error(unitNameProblem(name));
    return join(this.#staging, kind, name);
  }
}

const isOwn = (file: OwnFile | 'foreign' | undefined): file is OwnFile => file !== undefined && file !== 'foreign';

function readUnit(path: string): OwnFile | 'foreign' | undefined {
  try {
    if (!lstatSync(path).isFile()) return 'foreign';
    return parseOwnFile(readFileSync(path, 'utf8')) ?? 'foreign';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function writeAll(descriptor: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written);
}

function syncDirectory(path: string): void {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function removeIfEmpty(path: string, root: string): void {
  if (path === root) return;
  try {
    rmdirSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOENT') throw error;
  }
}

export interface DiskStateFilesOptions {
  /** `/var/lib/flotilla-agent`; made with mode 0700. */
  readonly directory: string;
  readonly log: Logger;
  readonly failpoint?: Failpoint;
}

export class DiskStateFiles implements StateFiles {
  readonly #options: DiskStateFilesOptions;

  constructor(options: DiskStateFilesOptions) {
    this.#options = options;
  }

  async read(concern: string): Promise<unknown> {
    const path = this.#path(concern);
    try {
      return JSON.parse(await readFile(path, 'utf8'));
    } catch (error) {
      const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (!isMissing) this.#options.log.error('state file cannot be read; going on without it', { path, error: (error as Error).message });
      return undefined;
    }
  }

  async write(concern: string, value: unknown): Promise<void> {
    await mkdir(this.#options.directory, { recursive: true, mode: 0o700 });
    const path = this.#path(concern);
    const file = await open(`${path}.new`, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(value));
      await file.sync();
    } finally {
      await file.close();
    }
    this.#options.failpoint?.('state-written');
    await rename(`${path}.new`, path);
    this.#options.failpoint?.('state-renamed');
    const directory = await open(this.#options.directory, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  #path(concern: string): string {
    return join(this.#options.directory, `${concern}.json`);
  }
}

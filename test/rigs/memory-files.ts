/** Unit directory and state directory in memory, with the manners of the real ones: rename is whole or not at all, links are looked up. */
import { ForeignFile, type NoteFiles, type StateFiles, type UnitFiles } from '../../agent/files.js';
import { type InstallLink, type OwnFile, parseOwnFile, renderOwnFile } from '../../agent/unit-text.js';

export class MemoryUnitFiles implements UnitFiles, NoteFiles {
  /** Path below the directory → content; '-> name' for a link. */
  readonly entries = new Map<string, string>();
  /** How often something was put in place or removed. */
  writes = 0;
  /** Planted: a unit file that was written is not there when it is looked for. */
  loses = false;
  readonly #staged = new Map<string, string>();
  readonly #kept = new Map<string, string>();
  readonly #notes = new Map<string, string>();

  names(): string[] {
    return [...this.entries.keys()].filter((path) => !path.includes('/') && isOwn(this.read(path))).sort();
  }

  read(name: string): OwnFile | 'foreign' | undefined {
    if (this.loses) return undefined;
    const content = this.entries.get(name);
    return content === undefined ? undefined : (parseOwnFile(content) ?? 'foreign');
  }

  stage(name: string, file: OwnFile): void {
    this.#staged.set(name, renderOwnFile(file));
  }

  commit(name: string): void {
    const staged = this.#staged.get(name);
    if (staged === undefined) throw new Error(`nothing is staged for ${name}`);
    const current = this.entries.get(name);
    if (this.read(name) === 'foreign') throw new ForeignFile(`${name} is not ours`);
    if (current !== undefined) this.#kept.set(name, current);
    this.entries.set(name, staged);
    this.writes += 1;
    this.#staged.delete(name);
  }

  previous(name: string): OwnFile | undefined {
    const kept = this.#kept.get(name);
    return kept === undefined ? undefined : parseOwnFile(kept);
  }

  rollBack(name: string): void {
    const kept = this.#kept.get(name);
    if (kept === undefined) throw new Error(`nothing is kept of ${name}`);
    this.entries.set(name, kept);
    this.#kept.delete(name);
  }

  settle(name: string): void {
    this.#kept.delete(name);
  }

  remove(name: string): void {
    if (this.read(name) === 'foreign') throw new ForeignFile(`${name} is not ours`);
    this.link(name, []);
    this.writes += 1;
    for (const map of [this.entries, this.#staged, this.#kept]) map.delete(name);
  }

  link(name: string, links: readonly InstallLink[]): string[] {
    const wanted = new Set(links.map(({ path }) => path));
    for (const [path, content] of this.entries) if (content === `-> ${name}` && !wanted.delete(path)) this.entries.delete(path);
    const refused: string[] = [];
    for (const path of wanted) {
      if (this.entries.has(path)) refused.push(path);
      else this.entries.set(path, `-> ${name}`);
    }
    return refused;
  }

  path(name: string): string {
    return `/run/systemd/system/${name}`;
  }

  notes(): ReadonlyMap<string, unknown> {
    return new Map([...this.#notes].map(([name, text]) => [name, JSON.parse(text) as unknown]));
  }

  note(name: string, value: unknown): void {
    if (value === undefined) this.#notes.delete(name);
    else this.#notes.set(name, JSON.stringify(value));
  }

  loseNotes(): void {
    this.#notes.clear();
  }

  /** A machine that boots has an empty /run. */
  reboot(): void {
    for (const map of [this.entries, this.#staged, this.#kept, this.#notes]) map.clear();
  }
}

const isOwn = (file: OwnFile | 'foreign' | undefined): boolean => file !== undefined && file !== 'foreign';

export class MemoryStateFiles implements StateFiles {
  readonly #values = new Map<string, string>();
  /** While set, nothing more reaches the disk: the agent has been killed. */
  isDead = false;

  async read(concern: string): Promise<unknown> {
    const value = this.#values.get(concern);
    return value === undefined ? undefined : JSON.parse(value);
  }

  async write(concern: string, value: unknown): Promise<void> {
    if (this.isDead) return new Promise(() => {});
    this.#values.set(concern, JSON.stringify(value));
  }

  lose(): void {
    this.#values.clear();
  }

  /** What is on the disk now, for an agent that starts after a crash. */
  survivor(): MemoryStateFiles {
    const copy = new MemoryStateFiles();
    for (const [concern, value] of this.#values) copy.#values.set(concern, value);
    return copy;
  }
}

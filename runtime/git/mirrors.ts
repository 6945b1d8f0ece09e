/** The mirrors as they lie on disk: one for each address and credential, used by one at a time, dropped when nobody wants them any more. */
import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.js';
import type { RepositoryAccess } from './commands.js';

export interface MirrorsOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly idleMs: number;
}

export class Mirrors {
  readonly #options: MirrorsOptions;
  /** By mirror: the end of what is under way. Fetching and dropping exclude everything else. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(options: MirrorsOptions) {
    this.#options = options;
  }

  /** One after the other for each mirror, whatever the one before came to. */
  inTurn<T>({ url, credentialsName = '' }: RepositoryAccess, task: (mirror: string) => Promise<T>): Promise<T> {
    const id = createHash('sha256').update(`${url.url}\0${credentialsName}`).digest('hex').slice(0, 32);
    const turn = (this.#turns.get(id) ?? Promise.resolve()).then(() => task(join(this.#options.directory, `${id}.git`)));
    const ended = turn.then(
      () => {},
      () => {},
    );
    this.#turns.set(id, ended);
    void ended.then(() => this.#turns.get(id) === ended && this.#turns.delete(id));
    return turn;
  }

  /** It was used just now. */
  touch(mirror: string): Promise<void> {
    const now = this.#options.clock.now();
    return utimes(mirror, now, now);
  }

  /** Nobody says when an address or a credential is not used any more: its mirror goes when another one comes. */
  async dropIdle(): Promise<void> {
    const { directory, clock, idleMs } = this.#options;
    const latest = clock.now().getTime() - idleMs;
    for (const name of await readdir(directory).catch(() => [])) {
      const path = join(directory, name);
      if (this.#turns.has(name.replace(/\.git$/, '')) || (await usedAtMs(path)) > latest) continue;
      await rm(path, { recursive: true, force: true });
    }
  }
}

/** Whether there is a mirror that git can use. */
export const isMade = (mirror: string): Promise<boolean> =>
  stat(join(mirror, 'HEAD')).then(
    () => true,
    () => false,
  );

/** Where a mirror keeps what it fetched. */
export const refOf = (hash: string): string => `refs/flotilla/${hash}`;

/** Whether fetches of all of these came to their end: git writes the ref once everything that it leads to is here. */
export async function holds(mirror: string, hashes: readonly string[]): Promise<boolean> {
  const refs = await Promise.all(hashes.map((hash) => readFile(join(mirror, refOf(hash)), 'utf8').catch(() => '')));
  return refs.every((text, at) => text.trim() === hashes[at]);
}

/** Removes packs that were not finished; resolves with the size of the largest. */
export async function removeUnfinished(mirror: string): Promise<number> {
  const packs = join(mirror, 'objects/pack');
  const names = (await readdir(packs).catch(() => [])).filter((name) => name.startsWith('tmp_'));
  const sizes = await Promise.all(names.map((name) => sizeIn(packs, name)));
  await Promise.all(names.map((name) => rm(join(packs, name), { force: true })));
  return Math.max(0, ...sizes);
}

const sizeIn = (directory: string, name: string): Promise<number> =>
  stat(join(directory, name)).then(
    ({ size }) => size,
    () => 0,
  );

/** Infinity when it is gone. */
const usedAtMs = (path: string): Promise<number> =>
  stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => Number.POSITIVE_INFINITY,
  );

/** Bytes of the packs, which are nearly all of a mirror. */
export async function sizeOf(mirror: string): Promise<number> {
  const packs = join(mirror, 'objects/pack');
  const names = await readdir(packs).catch(() => []);
  const sizes = await Promise.all(names.map((name) => sizeIn(packs, name)));
  return sizes.reduce((sum, size) => sum + size, 0);
}

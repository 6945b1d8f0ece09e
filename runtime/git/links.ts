/**
 * Symbolic links of a tree, followed within that tree alone: by arithmetic over names, as the kernel would do it below a root of its own.
 * Nothing on disk is looked at. Pure.
 */
import { GitError } from './run.js';
import type { TreeFile } from './tree.js';

export const linkLimits = {
  /** Bytes of a target: as long as Linux lets a path be. */
  maxTargetBytes: 4_096,
  /** Links in one path, those that they lead to included; the kernel's own limit. */
  maxChain: 40,
  /** Files and links that are seen by way of links to directories. */
  maxEntries: 10_000,
  /** Steps that are taken for all links of a tree together. */
  maxSteps: 200_000,
  maxDirectories: 100_000,
};

/** A file under the name that it is seen by. */
export interface FollowedFile extends TreeFile {
  /** Where its content lies: another path than `path` when a link led there. */
  readonly realPath: string;
}

export interface Followed {
  readonly files: readonly FollowedFile[];
  /** Links that lead nowhere that counts, each in a sentence. */
  readonly problems: readonly string[];
}

/**
 * What is seen below the root when links are followed. `targets` are the texts of the links, by path; a link without one is too long or no
 * text. What `isHidden` names is not seen under that name; a link may still lead there. @throws GitError too-large
 */
export function followLinks(
  files: readonly TreeFile[],
  targets: ReadonlyMap<string, string>,
  isHidden: (path: string) => boolean = () => false,
): Followed {
  return new Walk(new Names(files, targets), isHidden).all();
}

type Place = { readonly is: 'file'; readonly file: TreeFile } | { readonly is: 'directory'; readonly path: string };
type Nowhere = { readonly is: 'nowhere'; readonly why: string };

/** Names below the root, and what a path comes to. */
class Names {
  readonly #entries = new Map<string, TreeFile>();
  readonly #children = new Map<string, Set<string>>([['', new Set()]]);
  readonly #places = new Map<string, Place | Nowhere>();
  #steps = 0;

  constructor(
    files: readonly TreeFile[],
    private readonly targets: ReadonlyMap<string, string>,
  ) {
    for (const file of files) {
      this.#entries.set(file.path, file);
      let child = file.path;
      for (let slash = child.lastIndexOf('/'); ; slash = child.lastIndexOf('/')) {
        const parent = slash < 0 ? '' : child.slice(0, slash);
        const known = this.#children.get(parent);
        if (known !== undefined) {
          known.add(child);
          break;
        }
        this.#children.set(parent, new Set([child]));
        if (this.#children.size > linkLimits.maxDirectories) {
          throw new GitError('too-large', `links are followed among ${linkLimits.maxDirectories} directories at most`);
        }
        child = parent;
      }
    }
  }

  childrenOf(directory: string): readonly string[] {
    return [...(this.#children.get(directory) ?? [])].sort();
  }

  entry(path: string): TreeFile | undefined {
    return this.#entries.get(path);
  }

  targetOf(link: string): string | undefined {
    return this.targets.get(link);
  }

  /** Where a link leads. */
  resolve(link: string): Place | Nowhere {
    const known = this.#places.get(link);
    if (known !== undefined) return known;
    const place = this.#resolve(link);
    this.#places.set(link, place);
    return place;
  }

  /** Steps are taken one by one: `..` after a link is the parent of what that leads to. */
  #resolve(link: string): Place | Nowhere {
    let here = parentOf(link);
    const steps = [nameOf(link)];
    let links = 0;
    for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
      if (++this.#steps > linkLimits.maxSteps) throw new GitError('too-large', 'the links of this path lead too far to be followed');
      if (step === '' || step === '.') continue;
      if (step === '..') {
        if (here === '') return nowhere(leavesPath);
        here = parentOf(here);
        continue;
      }
      const path = joined(here, step);
      const entry = this.#entries.get(path);
      if (entry === undefined) {
        if (!this.#children.has(path)) return nowhere('which is not there');
        here = path;
      } else if (entry.kind === 'submodule') return nowhere('which is a submodule, and those are not fetched');
      else if (entry.kind === 'file') return steps.length === 0 ? { is: 'file', file: entry } : nowhere('which is not there');
      else {
        if (++links > linkLimits.maxChain) return nowhere(`which leads in a circle, or through more than ${linkLimits.maxChain} links`);
        const target = this.targets.get(path);
        if (target === undefined || target === '') return nowhere('which is no path');
        if (target.startsWith('/')) return nowhere(leavesPath);
        steps.push(...target.split('/').reverse());
      }
    }
    return { is: 'directory', path: here };
  }
}

class Walk {
  readonly #files: FollowedFile[] = [];
  readonly #problems: string[] = [];
  /** Directories that are being walked, where they really lie: a link to one of them would never end. */
  readonly #within = new Set<string>();
  #linked = 0;

  constructor(
    private readonly names: Names,
    private readonly isHidden: (path: string) => boolean,
  ) {}

  all(): Followed {
    this.#directory('', '');
    return { files: this.#files, problems: this.#problems };
  }

  #directory(real: string, seenAs: string): void {
    this.#within.add(real);
    for (const child of this.names.childrenOf(real)) {
      if (real !== seenAs && ++this.#linked > linkLimits.maxEntries) {
        throw new GitError('too-large', `links to directories show more than ${linkLimits.maxEntries} files`);
      }
      this.#entry(child, joined(seenAs, nameOf(child)));
    }
    this.#within.delete(real);
  }

  #entry(real: string, seenAs: string): void {
    const entry = this.names.entry(real);
    if (entry === undefined) this.#directory(real, seenAs);
    else if (this.isHidden(seenAs)) return;
    else if (entry.kind === 'symlink') this.#link(real, seenAs);
    else this.#files.push({ ...entry, path: seenAs, realPath: real });
  }

  #link(real: string, seenAs: string): void {
    const place = this.names.resolve(real);
    if (place.is === 'file') this.#files.push({ ...place.file, path: seenAs, realPath: place.file.path });
    else if (place.is === 'nowhere') this.#problem(seenAs, real, place.why);
    else if (this.#isAround(place.path)) this.#problem(seenAs, real, 'which holds the link itself');
    else this.#directory(place.path, seenAs);
  }

  #isAround(directory: string): boolean {
    return [...this.#within].some((within) => within === directory || directory === '' || within.startsWith(`${directory}/`));
  }

  #problem(seenAs: string, real: string, why: string): void {
    const target = this.names.targetOf(real);
    const shown = target === undefined ? 'what is too long or no text' : JSON.stringify(shortened(target));
    this.#problems.push(`${seenAs} is a symbolic link to ${shown}, ${why}`);
  }
}

const maxShown = 200;
const shortened = (text: string): string => (text.length <= maxShown ? text : `${text.slice(0, maxShown)}…`);
const leavesPath = 'which leads out of spec.path';
const nowhere = (why: string): Nowhere => ({ is: 'nowhere', why });
const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
const joined = (directory: string, name: string): string => (directory === '' ? name : `${directory}/${name}`);

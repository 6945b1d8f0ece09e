/** From what a repository offers to the commit that is wanted. Pure. */
import { highestInRange } from '../../api/resources/semver-range.js';

/** What of a repository is wanted; none of them: the commit that its HEAD names. */
export interface WantedRef {
  readonly branch?: string | undefined;
  readonly tag?: string | undefined;
  readonly semver?: string | undefined;
  readonly commit?: string | undefined;
}

export interface Revision {
  readonly commit: string;
  /** Branch or tag; '' for a commit that was named itself. */
  readonly name: string;
  /** The hash of the tag, when that is an object of its own that names the commit. */
  readonly tag?: string;
}

/** `main@sha1:0123…` as Flux writes it; `sha1:0123…` without a name. */
export const revisionText = ({ commit, name }: Revision): string =>
  `${name === '' ? '' : `${name}@`}${commit.length === 64 ? 'sha256' : 'sha1'}:${commit}`;

/** The patterns to ask for. A pattern also matches longer refs that end so: `pick` compares them whole. */
export function patternsFor({ branch, tag, semver }: WantedRef): string[] {
  if (branch !== undefined) return [`refs/heads/${branch}`];
  if (tag !== undefined) return [`refs/tags/${tag}`, `refs/tags/${tag}^{}`];
  return semver !== undefined ? ['refs/tags/*'] : ['HEAD'];
}

/** `git ls-remote --symref` as a map: ref → hash, and what HEAD points to. */
export function parseRefs(output: string): { refs: Map<string, string>; head: string | undefined } {
  const refs = new Map<string, string>();
  let head: string | undefined;
  for (const line of output.split('\n')) {
    const [first = '', second = ''] = line.split('\t');
    if (first.startsWith('ref: ') && second === 'HEAD') head = first.slice('ref: '.length);
    else if (/^[0-9a-f]{40,64}$/.test(first)) refs.set(second, first);
  }
  return { refs, head };
}

/** The wanted commit, or in a sentence why there is none. */
export function pick(wanted: WantedRef, output: string): Revision | { readonly problem: string } {
  const { refs, head } = parseRefs(output);
  const { branch, tag, semver, commit } = wanted;
  if (commit !== undefined) return { commit, name: '' };
  if (branch !== undefined) {
    const found = refs.get(`refs/heads/${branch}`);
    return found === undefined ? { problem: `the repository has no branch "${branch}"` } : { commit: found, name: branch };
  }
  if (tag !== undefined) {
    const found = commitOfTag(refs, tag);
    return found ?? { problem: `the repository has no tag "${tag}"` };
  }
  if (semver !== undefined) {
    const tags = [...refs.keys()]
      .filter((ref) => ref.startsWith('refs/tags/') && !ref.endsWith('^{}'))
      .map((ref) => ref.slice('refs/tags/'.length));
    const best = highestInRange(tags, semver);
    const found = best === undefined ? undefined : commitOfTag(refs, best);
    return found ?? { problem: `none of the repository's ${tags.length} tags is a version in "${semver}"` };
  }
  const found = refs.get('HEAD');
  return found === undefined
    ? { problem: 'the repository is empty: its HEAD names no commit' }
    : { commit: found, name: head?.replace(/^refs\/heads\//, '') ?? '' };
}

/** An annotated tag is an object of its own; `^{}` is the commit that it is about. */
function commitOfTag(refs: ReadonlyMap<string, string>, name: string): Revision | undefined {
  const [tip, peeled] = [refs.get(`refs/tags/${name}`), refs.get(`refs/tags/${name}^{}`)];
  if (tip === undefined) return undefined;
  return peeled === undefined ? { commit: tip, name } : { commit: peeled, name, tag: tip };
}

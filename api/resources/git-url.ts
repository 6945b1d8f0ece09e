/**
 * Addresses of Git repositories, as people write them: `https://`, `http://`, `ssh://`, `file://` and scp's `git@host:path`. Whatever git
 * would read as an option, as a helper's name or as a password in a place that everybody sees is refused here, before git sees it.
 */

export type GitTransport = 'https' | 'http' | 'ssh' | 'file';

export interface GitUrl {
  readonly transport: GitTransport;
  /** As git is given it. */
  readonly url: string;
  /** '' for file. Without brackets. */
  readonly host: string;
  /** Absolute directory on this computer, for file only. */
  readonly directory?: string;
}

export const maxGitUrlLength = 1_024;

const expected = 'expected https://host/path, ssh://git@host/path, git@host:path, http://host/path or file:///path';
const hostName = /^(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])$/i;
const userName = /^[a-z0-9_][a-z0-9._@+-]*$/i;

/** The address, or in a sentence why it is none. */
export function parseGitUrl(text: string): GitUrl | { readonly problem: string } {
  if (text.length > maxGitUrlLength) return { problem: `is longer than ${maxGitUrlLength} characters` };
  if (/[\s\u0000-\u001f\u007f]/u.test(text)) return { problem: 'cannot contain spaces or control characters' };
  if (text.startsWith('-')) return { problem: `cannot begin with "-": git would take it for an option; ${expected}` };
  if (/^[A-Za-z0-9+.-]*::/.test(text)) return { problem: `cannot name a remote helper ("::"); ${expected}` };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return parseScp(text);
  switch (scheme) {
    case 'https':
    case 'http':
    case 'ssh':
      return parseRemote(scheme, text);
    case 'file':
      return parseFile(text);
    default:
      return { problem: `"${scheme}" is no way to a repository that is taken; ${expected}` };
  }
}

function parseRemote(transport: 'https' | 'http' | 'ssh', text: string): GitUrl | { problem: string } {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return { problem: `is no address; ${expected}` };
  }
  if (url.password !== '' || (transport !== 'ssh' && url.username !== '')) {
    return {
      problem: 'cannot hold a user name and password, which everybody would see: put them into a Secret and name it in spec.secretRef',
    };
  }
  if (url.username !== '' && !userName.test(decodeURIComponent(url.username)))
    return { problem: 'has a user name that ssh would take for an option' };
  if (!hostName.test(url.hostname)) return { problem: `has no host name that can be used; ${expected}` };
  if (url.hash !== '' || url.search !== '') return { problem: 'cannot have a query or a fragment; the branch goes into spec.ref' };
  if (url.pathname === '' || url.pathname === '/') return { problem: `names no repository; ${expected}` };
  const steps = pathProblem(url.pathname);
  return steps === undefined ? { transport, url: text, host: url.hostname.replace(/^\[|\]$/g, '') } : { problem: steps };
}

function parseFile(text: string): GitUrl | { problem: string } {
  const directory = text.slice('file://'.length);
  if (!directory.startsWith('/')) return { problem: 'has to name a directory of the server from its root on: file:///srv/git/ops.git' };
  if (/[%?#]/.test(directory)) return { problem: 'cannot contain %, ? or #' };
  const steps = pathProblem(directory);
  return steps === undefined ? { transport: 'file', url: text, host: '', directory } : { problem: steps };
}

function parseScp(text: string): GitUrl | { problem: string } {
  const [, user, host = '', path = ''] = /^(?:([^@/:]+)@)?([^@/:]+):(.+)$/.exec(text) ?? [];
  if (host === '') return { problem: `is no address; ${expected}` };
  if (user !== undefined && !userName.test(user)) return { problem: 'has a user name that ssh would take for an option' };
  if (!hostName.test(host)) return { problem: `has no host name that can be used; ${expected}` };
  if (path.startsWith('-')) return { problem: 'has a path that begins with "-", which git would take for an option' };
  const steps = pathProblem(path);
  return steps === undefined ? { transport: 'ssh', url: text, host } : { problem: steps };
}

const pathProblem = (path: string): string | undefined =>
  path.split('/').some((step) => step === '..') ? 'cannot contain ".." as a step of its path' : undefined;

/** What is wrong with the name of a branch or tag, by git's own rules (git-check-ref-format) and ours; undefined when nothing is. */
export function refNameProblem(name: string): string | undefined {
  if (name === '') return 'cannot be empty';
  if (name.length > 250) return 'is longer than 250 characters';
  if (name.startsWith('-')) return 'cannot begin with "-": git would take it for an option';
  const wrong = /[\s\u0000-\u001f\u007f~^:?*[\\]/u.exec(name)?.[0] ?? /\.\.|@\{|\/\//.exec(name)?.[0];
  if (wrong !== undefined) return `cannot contain ${JSON.stringify(wrong)}`;
  const steps = name.split('/');
  if (name === '@' || steps.some((step) => step === '' || step.startsWith('.') || step.endsWith('.lock')) || name.endsWith('.')) {
    return 'is no name that git would take';
  }
  return undefined;
}

/** A path inside a repository as its steps, `[]` for the root; or in a sentence why it is none. */
export function repositoryPath(path: string): { readonly steps: readonly string[] } | { readonly problem: string } {
  if (path.length > 1_024) return { problem: 'is longer than 1024 characters' };
  if (/[\u0000-\u001f\u007f\\]/u.test(path)) return { problem: 'cannot contain control characters or backslashes' };
  if (path.startsWith('/')) return { problem: 'is taken from the root of the repository: write it without "/" in front' };
  const steps = path.split('/').filter((step) => step !== '' && step !== '.');
  if (steps.includes('..')) return { problem: 'cannot contain "..": it has to stay in the repository' };
  if (steps.some((step) => step.toLowerCase() === '.git')) return { problem: 'cannot lead into .git' };
  return { steps };
}

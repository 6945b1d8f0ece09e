/** By which proxy git reaches http:// and https:// repositories: one of a Secret, or the one that this server's own environment names. */
import { isIP } from 'node:net';
import type { GitUrl } from '../../api/resources/git-url.js';
import type { SecretData } from './credentials.js';

export interface GitProxy {
  /** With user name and password, if it asks for them. */
  readonly url: string;
}

const schemes = ['http:', 'https:', 'socks5:', 'socks5h:'];

/** The proxy in a Secret, with Flux' names of the keys: `address`, `username`, `password`; or in a sentence what is missing. */
export function proxyFrom(url: GitUrl, data: SecretData): GitProxy | { readonly problem: string } {
  const text = (key: string) => data.get(key)?.toString('utf8').trim() ?? '';
  if (isLoopback(url.host)) return { problem: 'no proxy leads to an address of this server alone' };
  const address = text('address');
  if (address === '') return { problem: 'it has no key "address" such as http://proxy.example:3128' };
  if (!URL.canParse(address)) return { problem: 'its "address" is none: expected http://proxy.example:3128' };
  const proxy = new URL(address);
  if (!schemes.includes(proxy.protocol) || proxy.hostname === '') {
    return { problem: `its "address" has to begin with one of ${schemes.map((scheme) => `${scheme}//`).join(', ')} and name a host` };
  }
  const [username, password] = [text('username'), text('password')];
  if (username !== '') proxy.username = encodeURIComponent(username);
  if (password !== '') proxy.password = encodeURIComponent(password);
  return { url: proxy.href };
}

/** As curl reads them: in lower case, and the upper-case names that people set as well. */
const variables = ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'] as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** What git is given so that it goes by the proxy, if there is one; nothing that git would ask for itself. */
export function proxyEnvironment(url: GitUrl, proxy: GitProxy | undefined, server: Environment): Record<string, string> {
  // A token goes over plain http:// to this computer only, and so not to a proxy either.
  if ((url.transport !== 'https' && url.transport !== 'http') || isLoopback(url.host)) return {};
  if (proxy !== undefined) return { http_proxy: proxy.url, https_proxy: proxy.url };
  return Object.fromEntries(
    variables.flatMap((name) => {
      const value = server[name] ?? server[name.toUpperCase()];
      return value === undefined || value === '' ? [] : [[name, value] as const];
    }),
  );
}

/** Strings of these variables that must not show up in a message. */
export function secretsOfProxies(environment: Environment): string[] {
  return variables.flatMap((name) => {
    const value = environment[name] ?? '';
    const userInfo = /^[a-z0-9]+:\/\/([^/@]*(?:@[^/@]*)*)@/i.exec(value)?.[1] ?? '';
    const password = userInfo.slice(userInfo.indexOf(':') + 1);
    return [userInfo, password, decoded(password)].filter((secret) => secret.length > 3);
  });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

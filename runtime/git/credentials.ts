/** What opens a repository: from a Secret's keys to what git is given. Nothing of it is ever an argument of a process. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { GitUrl } from '../../api/resources/git-url.js';
import { isLoopback } from './proxy.js';

export type SecretData = ReadonlyMap<string, Buffer>;

export interface GitCredentials {
  readonly ssh?: { readonly privateKey: Buffer; readonly knownHosts: Buffer };
  /** The value of an HTTP Authorization header. */
  readonly authorization?: string;
  /** PEM, for https servers with a CA of their own. */
  readonly ca?: Buffer;
}

/** Flux's and Kubernetes' names for the same things. */
const keysOf = {
  privateKey: ['identity', 'ssh-privatekey'],
  knownHosts: ['known_hosts'],
  username: ['username'],
  password: ['password'],
  token: ['bearerToken', 'token'],
  ca: ['ca.crt', 'caFile'],
} as const;

/** The credentials in a Secret for this address, or in a sentence what is missing. */
export function credentialsFrom(url: GitUrl, data: SecretData): GitCredentials | { readonly problem: string } {
  const value = (name: keyof typeof keysOf) => keysOf[name].map((key) => data.get(key)).find((found) => found !== undefined);
  switch (url.transport) {
    case 'ssh': {
      const [privateKey, knownHosts] = [value('privateKey'), value('knownHosts')];
      if (privateKey === undefined) return { problem: 'it has no key "identity" with the private SSH key' };
      if (knownHosts === undefined)
        return { problem: 'it has no key "known_hosts": without it nobody knows whether that host is the right one' };
      return { ssh: { privateKey: endedByNewline(privateKey), knownHosts: endedByNewline(knownHosts) } };
    }
    case 'https':
    case 'http': {
      const [username, password, token, ca] = [value('username'), value('password'), value('token'), value('ca')].map((found) => found);
      if (token === undefined && password === undefined && ca === undefined) {
        return { problem: 'it has neither "bearerToken" nor "username" and "password", nor "ca.crt"' };
      }
      if (url.transport === 'http' && !isLoopback(url.host) && (token ?? password) !== undefined) {
        return { problem: 'over http:// everybody on the way would read it: use https://' };
      }
      const basic = password && Buffer.from(`${text(username) || 'git'}:${text(password)}`).toString('base64');
      const authorization = token !== undefined ? `Bearer ${text(token)}` : basic === undefined ? undefined : `Basic ${basic}`;
      if (authorization !== undefined && /[\r\n]/.test(authorization)) return { problem: 'its token or password has more than one line' };
      return { ...(authorization === undefined ? {} : { authorization }), ...(ca === undefined ? {} : { ca }) };
    }
    case 'file':
      return { problem: 'a file:// repository needs no secret' };
  }
}

const text = (value: Buffer | undefined): string => value?.toString('utf8').trim() ?? '';
const endedByNewline = (value: Buffer): Buffer => (value.at(-1) === 0x0a ? value : Buffer.concat([value, Buffer.from('\n')]));

/** Strings that must not show up in a message. */
export function secretsIn({ authorization }: GitCredentials): string[] {
  if (authorization === undefined) return [];
  const [, encoded = ''] = authorization.split(' ');
  const decoded = authorization.startsWith('Basic ') ? Buffer.from(encoded, 'base64').toString('utf8') : '';
  return [authorization, encoded, decoded, decoded.slice(decoded.indexOf(':') + 1)].filter((secret) => secret.length > 3);
}

/** Runs with a directory that only this user can enter, in memory where there is such a place, and removes it. */
export async function withPrivateDirectory<T>(parent: string, run: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(parent, 'flotilla-git-'));
  try {
    return await run(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const quoted = (path: string): string => `'${path.replaceAll("'", "'\\''")}'`;

/** Environment that lets git in; files go to `directory`, which goes with them. */
export async function credentialEnvironment(
  { ssh, authorization, ca }: GitCredentials,
  directory: string,
  connectTimeoutSeconds: number,
): Promise<Record<string, string>> {
  const env: Record<string, string> = { GIT_SSH_VARIANT: 'ssh', GIT_SSH_COMMAND: sshCommand([], connectTimeoutSeconds) };
  if (ssh) {
    const [key, hosts] = [join(directory, 'identity'), join(directory, 'known_hosts')];
    await writeFile(key, ssh.privateKey, { mode: 0o600 });
    await writeFile(hosts, ssh.knownHosts, { mode: 0o600 });
    env.GIT_SSH_COMMAND = sshCommand([`IdentityFile=${quoted(key)}`, `UserKnownHostsFile=${quoted(hosts)}`], connectTimeoutSeconds);
  }
  const settings: [string, string][] = [];
  if (authorization !== undefined) {
    // A redirect must not take the header to somebody else.
    settings.push(['http.extraHeader', `Authorization: ${authorization}`], ['http.followRedirects', 'false']);
  }
  if (ca) {
    const file = join(directory, 'ca.crt');
    await writeFile(file, ca, { mode: 0o600 });
    settings.push(['http.sslCAInfo', file]);
  }
  settings.forEach(([name, value], at) => {
    env[`GIT_CONFIG_KEY_${at}`] = name;
    env[`GIT_CONFIG_VALUE_${at}`] = value;
  });
  if (settings.length > 0) env.GIT_CONFIG_COUNT = String(settings.length);
  return env;
}

/** Nothing of this user's or this host's ssh settings, no question, no agent, and no host that is not known. */
function sshCommand(own: readonly string[], connectTimeoutSeconds: number): string {
  const options = [
    'BatchMode=yes',
    'StrictHostKeyChecking=yes',
    'GlobalKnownHostsFile=/dev/null',
    'IdentitiesOnly=yes',
    'IdentityAgent=none',
    'ForwardAgent=no',
    'PermitLocalCommand=no',
    'ClearAllForwardings=yes',
    'LogLevel=ERROR',
    `ConnectTimeout=${connectTimeoutSeconds}`,
    ...own,
    ...(own.length === 0 ? ['UserKnownHostsFile=/dev/null', 'IdentityFile=none'] : []),
  ];
  return ['ssh', '-F', '/dev/null', ...options.map((option) => `-o ${option}`)].join(' ');
}

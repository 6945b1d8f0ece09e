/**
 * Command lines of the user's own `ssh`, made from what was asked for. Pure. No word of the user's, and none that a machine told of
 * itself, can become an option: hosts and users that begin with `-` are refused, values are the tail of their option, `--` stands before
 * the host. What is not asked for is left to ssh_config.
 */

import { addressOf } from '../address.js';
import { usageError } from '../exit.js';

/** How to connect, for every use of ssh. */
export interface SshOptions {
  readonly username?: string;
  /** Seconds until a connection must stand; ssh counts whole ones. */
  readonly timeoutSeconds: number;
  readonly hostKeys?: (typeof hostKeyWords)[HostKeyWord];
  readonly knownHostsFile?: string;
}

/** ssh's own words, and fleet's two: `true` asks about unknown hosts, as fleetctl did, and `false` is `no`. */
export const hostKeyWords = { true: 'ask', false: 'no', yes: 'yes', no: 'no', ask: 'ask', 'accept-new': 'accept-new' } as const;
export type HostKeyWord = keyof typeof hostKeyWords;

/** What the command line says of ssh. */
export interface SshFlags {
  readonly sshUsername?: string;
  /** Seconds. */
  readonly sshTimeout?: number;
  readonly strictHostKeyChecking?: HostKeyWord;
  readonly knownHostsFile?: string;
}

export const defaultSshTimeoutSeconds = 10;

export const sshOptionsOf = ({
  sshUsername,
  sshTimeout = defaultSshTimeoutSeconds,
  strictHostKeyChecking,
  knownHostsFile,
}: SshFlags): SshOptions => ({
  timeoutSeconds: sshTimeout,
  ...(sshUsername !== undefined && { username: sshUsername }),
  ...(strictHostKeyChecking !== undefined && { hostKeys: hostKeyWords[strictHostKeyChecking] }),
  ...(knownHostsFile !== undefined && { knownHostsFile }),
});

/** A host to connect to, or a name that ssh_config gives one. */
export interface SshHost {
  readonly host: string;
  readonly port?: number;
  readonly username?: string;
}

/** Letters, digits and what addresses and names are made of; `%` is the zone of a link-local address. */
const hostPattern = /^[A-Za-z0-9_.:][A-Za-z0-9_.:%-]*$/;
const usernamePattern = /^[A-Za-z0-9_.][A-Za-z0-9_.@+$\\-]*$/;

/** Throws a usage error that begins with `what`. */
export function checkHost(what: string, host: string): string {
  if (host.length > 255 || !hostPattern.test(host)) throw usageError(`${what}: ${JSON.stringify(host)} is no host name or address`);
  return host;
}

export function checkUsername(what: string, username: string): string {
  if (!usernamePattern.test(username)) throw usageError(`${what}: ${JSON.stringify(username)} is no user name`);
  return username;
}

export function parsePort(what: string, text: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw usageError(`${what}: ${JSON.stringify(text)} is no port; expected a number from 1 to 65535`);
  return port;
}

/** `host`, `host:port`, `user@host:port`, `[::1]:port`. Throws a usage error. */
export function parseTunnel(text: string): SshHost {
  const what = '--tunnel';
  const at = text.lastIndexOf('@');
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*|[^:]*:[^:]*:.*))(?::([^:]*))?$/.exec(text.slice(at + 1)) ?? [];
  const host = checkHost(what, bracketed ?? plain ?? text);
  return {
    host,
    ...(port === undefined ? {} : { port: parsePort(what, port) }),
    ...(at < 0 ? {} : { username: checkUsername(what, text.slice(0, at)) }),
  };
}

/** ssh reads the value of this option as words that may be quoted, in which `%` begins a token. */
function knownHostsOption(file: string): string {
  if (/["\\\r\n]/.test(file) || file === '') throw usageError(`--known-hosts-file: ${JSON.stringify(file)} cannot be given to ssh`);
  return `UserKnownHostsFile="${file.replaceAll('%', '%%')}"`;
}

const connectionArguments = (options: SshOptions, { port, username = options.username }: SshHost): string[] => [
  ...['-o', `ConnectTimeout=${Math.max(1, Math.ceil(options.timeoutSeconds))}`],
  ...(options.hostKeys === undefined ? [] : ['-o', `StrictHostKeyChecking=${options.hostKeys}`]),
  ...(options.knownHostsFile === undefined ? [] : ['-o', knownHostsOption(options.knownHostsFile)]),
  ...(port === undefined ? [] : ['-p', String(port)]),
  ...(username === undefined ? [] : ['-l', checkUsername('--ssh-username', username)]),
];

export interface SshCommand {
  readonly target: SshHost;
  /** Let the far side use the agent of this one. */
  readonly forwardAgent?: boolean;
  /** Connect by way of this host. */
  readonly through?: SshHost;
  /** Joined by spaces and read by the user's shell there. None: a shell, with a terminal when there is one here. */
  readonly command: readonly string[];
}

/** Arguments of `ssh` for a command, or a shell, on a host. */
export const sshArguments = (options: SshOptions, { target, forwardAgent, through, command }: SshCommand): string[] => [
  ...connectionArguments(options, target),
  ...(forwardAgent ? ['-A'] : []),
  ...(through === undefined ? [] : ['-o', `ProxyCommand=${proxyCommand(options, through)}`]),
  '--',
  checkHost('ssh', target.host),
  ...(command.length === 0 ? [] : [command.join(' ')]),
];

/**
 * Instead of `-J`: ssh does not pass on what its command line says of host keys to a jump host. Run by the user's shell, and ssh replaces
 * `%h` and `%p`; so all else is quoted for the one and escaped for the other.
 */
const proxyCommand = (options: SshOptions, through: SshHost): string => {
  const words = ['ssh', ...connectionArguments(options, through), '-W'];
  const quoted = words.map(quoteForShell).map((word) => word.replaceAll('%', '%%'));
  return [...quoted, "'[%h]:%p'", '--', quoteForShell(checkHost('--tunnel', through.host)).replaceAll('%', '%%')].join(' ');
};

const quoteForShell = (word: string): string => (/^[A-Za-z0-9_=.,:@/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** Arguments of `ssh` for a local socket that leads to the server's, as seen from the host in between. */
export const tunnelArguments = (options: SshOptions, through: SshHost, localSocket: string, endpoint: string): string[] => [
  '-N',
  '-T',
  ...['-o', 'ExitOnForwardFailure=yes', '-o', 'ClearAllForwardings=no', '-o', 'ControlMaster=no', '-o', 'ControlPath=none'],
  // A connection that died must end the verb, not leave it waiting.
  ...['-o', 'ServerAliveInterval=15', '-o', 'ServerAliveCountMax=3'],
  ...connectionArguments(options, through),
  '-L',
  `${localSocket}:${forwardTarget(endpoint)}`,
  '--',
  checkHost('--tunnel', through.host),
];

/** In `-L` a colon separates, and ssh replaces what begins with `%` or `$`. */
export const isForwardable = (path: string): boolean => !/[:%$\\\s]/.test(path);

/** Where the endpoint is, as `-L` spells it. Throws a usage error. */
export function forwardTarget(text: string): string {
  const address = addressOf(text);
  if (address.kind === 'tcp') return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
  if (!isForwardable(address.socketPath)) throw usageError(`endpoint ${JSON.stringify(text)}: ssh cannot forward to a socket of this name`);
  return address.socketPath;
}

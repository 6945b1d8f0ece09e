/**
 * Sockets that systemd opened for this process, by the protocol of sd_listen_fds(3): which there are, and what they are, from the kernel's
 * own tables. Nothing is accepted on them before their turn, so whoever knocked first is answered too.
 */
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import type { ListenSpec } from './listeners.js';
import { net6Address, netAddress } from './proc-net.js';
import { StartRefused } from './trust/cluster-meta.js';

/** SD_LISTEN_FDS_START: after stdin, stdout and stderr. */
const firstFd = 3;
/** More sockets than anybody gives one server. */
const maxFds = 64;

/** What is asked of the operating system. */
export interface SocketTables {
  /** The link of `/proc/self/fd/N`: `socket:[4711]`. Throws when there is no such descriptor. */
  link(fd: number): string;
  /** `/proc/self/net/<name>`; '' where the kernel has no such table. */
  table(name: 'unix' | 'tcp' | 'tcp6'): string;
  /** Permission bits of a file. */
  mode(path: string): number;
}

export const systemTables: SocketTables = {
  link: (fd) => readlinkSync(`/proc/self/fd/${fd}`),
  table(name) {
    try {
      return readFileSync(`/proc/self/net/${name}`, 'utf8');
    } catch (error) {
      // A kernel without IPv6 has no tcp6.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    }
  },
  mode: (path) => statSync(path).mode & 0o777,
};

/**
 * Where to listen by inheritance; empty when systemd handed over nothing to this process. Takes the variables out of `env`, so that no
 * child believes that they are for it. A TCP socket speaks TLS unless its FileDescriptorName is `http`.
 *
 * Throws StartRefused for a socket that is none of ours or that lets in too many.
 */
export function inheritedSockets(env: NodeJS.ProcessEnv, pid: number, tables: SocketTables = systemTables): ListenSpec[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  if (LISTEN_PID !== String(pid) || LISTEN_FDS === undefined) return [];
  const count = Number(LISTEN_FDS);
  if (!/^\d+$/.test(LISTEN_FDS) || count > maxFds) throw new StartRefused(`LISTEN_FDS=${LISTEN_FDS}: expected a number up to ${maxFds}`);
  const names = LISTEN_FDNAMES.split(':');
  return Array.from({ length: count }, (_, index) => socketAt(firstFd + index, names[index] ?? '', tables));
}

function socketAt(fd: number, name: string, tables: SocketTables): ListenSpec {
  const inode = /^socket:\[(\d+)\]$/.exec(linkOf(fd, tables))?.[1];
  if (inode === undefined) throw new StartRefused(`file descriptor ${fd} that systemd handed over is no socket`);
  const unix = unixPath(tables.table('unix'), inode);
  if (unix !== undefined) return { kind: 'unix', path: guardedPath(fd, unix, tables), fd };
  const address = netAddress(tables.table('tcp'), inode) ?? net6Address(tables.table('tcp6'), inode);
  if (address === undefined) {
    throw new StartRefused(
      `file descriptor ${fd} that systemd handed over is neither a unix nor a TCP socket of this network namespace; ` +
        'expected ListenStream= with a path or a port',
    );
  }
  return { kind: name === 'http' ? 'http' : 'https', ...address, fd };
}

function linkOf(fd: number, tables: SocketTables): string {
  try {
    return tables.link(fd);
  } catch (error) {
    throw new StartRefused(`file descriptor ${fd}, which LISTEN_FDS promises, is not there`, { cause: error });
  }
}

/** The path in the last column of the line with this inode: '' for a socket without one; undefined when there is no such line. */
function unixPath(table: string, inode: string): string | undefined {
  for (const line of table.split('\n')) {
    const [, found, path] = /^\S+: \S+ \S+ \S+ \S+ \S+ +(\d+)(?: (.*))?$/.exec(line) ?? [];
    if (found === inode) return path ?? '';
  }
  return undefined;
}

/** Whoever can write to the socket is admin: that must not be everybody, as by systemd's own default of SocketMode=0666. */
function guardedPath(fd: number, path: string, tables: SocketTables): string {
  if (!path.startsWith('/')) {
    throw new StartRefused(
      `the unix socket of file descriptor ${fd} has no path, and so no permissions: every user of this computer would act as admin`,
    );
  }
  const mode = tables.mode(path);
  if ((mode & 0o002) !== 0) {
    const found = mode.toString(8).padStart(4, '0');
    throw new StartRefused(`unix://${path} has mode ${found}, so every user of this computer would act as admin: say SocketMode=0660`);
  }
  return path;
}

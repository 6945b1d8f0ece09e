/**
 * Where the server listens. Who may come in over which kind of listener is decided here and nowhere else: a unix socket guarded by file
 * permissions, TLS with client certificates, and plain http on loopback for those who asked for it by name.
 */

import { constants } from 'node:crypto';
import { once } from 'node:events';
import { chmod, chown, lstat, mkdir, readFile, unlink } from 'node:fs/promises';
import http, { type IncomingMessage, type RequestListener } from 'node:http';
import https from 'node:https';
import net, { type AddressInfo, type Socket } from 'node:net';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions } from 'node:tls';
import { type Logger, silentLogger } from '../../runtime/log.js';
import type { ConnectionIdentities, Via } from './connection-identity.js';
import { StartRefused } from './trust/cluster-meta.js';

/** `fd`: the socket is open already, and this is its descriptor (socket-activation.ts). */
export type ListenSpec =
  | { readonly kind: 'unix'; readonly path: string; readonly fd?: number }
  | { readonly kind: 'http' | 'https'; readonly host: string; readonly port: number; readonly fd?: number };

export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export interface ListenersOptions {
  /** Answers requests of every listener alike: fastify's `app.routing` after `app.ready()`. */
  readonly handler: RequestListener;
  /** Answers requests to change the protocol. Without one they are refused. */
  readonly onUpgrade?: UpgradeListener;
  readonly identities: ConnectionIdentities;
  /** Needed for https. */
  readonly pki?: { serverIdentity(): SecureContextOptions; onRenewed(listener: () => void): () => void };
  /** Plain http on loopback, where every local user then is an admin. */
  readonly insecureLoopback?: boolean;
  /** Group that may use the unix socket, when the machine knows it. Default `flotilla`. */
  readonly group?: string;
  readonly maxConnections?: number;
  readonly log?: Logger;
}

export interface Listeners {
  /** As they can be dialled: `unix:///run/x.sock`, `https://127.0.0.1:7443`, with the port that was really taken. */
  readonly endpoints: readonly string[];
  /** Takes no new connections, ends idle ones at once and all others after `graceMs`. */
  close(graceMs?: number): Promise<void>;
}

const defaultMaxConnections = 20_000;
const headersTimeoutMs = 10_000;
const requestTimeoutMs = 60_000;
const keepAliveTimeoutMs = 75_000;
const tlsHandshakeTimeoutMs = 10_000;

/** `unix:///path`, `https://host:port`, `http://127.0.0.1:port`. Throws StartRefused with a sentence. */
export function parseListen(text: string): ListenSpec {
  if (text.startsWith('unix://')) {
    const file = text.slice('unix://'.length);
    if (!path.isAbsolute(file))
      throw new StartRefused(`--listen ${text}: a unix socket needs an absolute path, as unix:///run/flotilla/flotilla.sock`);
    // sockaddr_un has room for 108 bytes, and the kernel would cut the rest off in silence.
    if (Buffer.byteLength(file) > 107) throw new StartRefused(`--listen ${text}: the path of a unix socket has at most 107 bytes`);
    return { kind: 'unix', path: file };
  }
  const [, kind, bracketed, plain, port] = /^(https?):\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})\/?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if ((kind !== 'http' && kind !== 'https') || host === undefined || Number(port) > 65_535) {
    throw new StartRefused(`--listen ${text}: expected unix:///PATH, https://ADDRESS:PORT or http://127.0.0.1:PORT`);
  }
  return { kind, host, port: Number(port) };
}

/** Loopback by its spelling: a name other than localhost could lead anywhere. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (net.isIPv4(host) && host.startsWith('127.'));

/** What can be said against a list of listeners before any is opened; undefined when nothing. */
export function refusal(specs: readonly ListenSpec[], options: { insecureLoopback?: boolean; tls: boolean }): string | undefined {
  for (const spec of specs) {
    if (spec.kind === 'http' && !isLoopback(spec.host)) {
      return (
        `http://${spec.host}:${spec.port} would let everybody who reaches this address act as admin, unencrypted: ` +
        `use https://${spec.host}:${spec.port} (its certificate is made by itself), or a unix socket`
      );
    }
    if (spec.kind === 'http' && !options.insecureLoopback) {
      return (
        `http://${spec.host}:${spec.port} lets every user of this computer act as admin: ` +
        'say --insecure-loopback too if that is wanted, or use a unix socket'
      );
    }
    if (spec.kind === 'https' && !options.tls)
      return `https://${spec.host}:${spec.port} needs the cluster's certificates, and there are none`;
  }
  return specs.length === 0 ? 'there is nothing to listen on: name a socket with --listen' : undefined;
}

/** Opens all of them or none. Throws StartRefused. */
export async function openListeners(specs: readonly ListenSpec[], options: ListenersOptions): Promise<Listeners> {
  const against = refusal(specs, { insecureLoopback: options.insecureLoopback ?? false, tls: options.pki !== undefined });
  if (against) throw new StartRefused(against);
  const opened: Opened[] = [];
  try {
    for (const spec of specs) opened.push(await open(spec, options));
  } catch (error) {
    await Promise.all(opened.map((listener) => listener.close(0)));
    throw error;
  }
  return {
    endpoints: opened.map(({ endpoint }) => endpoint),
    close: async (graceMs = 5_000) => void (await Promise.all(opened.map((listener) => listener.close(graceMs)))),
  };
}

interface Opened {
  readonly endpoint: string;
  close(graceMs: number): Promise<void>;
}

const limits = { headersTimeout: headersTimeoutMs, requestTimeout: requestTimeoutMs, keepAliveTimeout: keepAliveTimeoutMs };

async function open(spec: ListenSpec, options: ListenersOptions): Promise<Opened> {
  const { log = silentLogger } = options;
  switch (spec.kind) {
    case 'unix': {
      const server = http.createServer(limits, options.handler);
      // Whoever opened it has said who may use it.
      if (spec.fd === undefined) await bindUnixSocket(server, spec.path, options.group ?? 'flotilla', log);
      else await listen(server, { fd: spec.fd }, `unix://${spec.path}`);
      return serve(server, 'unix-socket', `unix://${spec.path}`, options);
    }
    case 'http': {
      const server = http.createServer(limits, onlyFromThisComputer(options.handler));
      return serve(server, 'insecure-loopback', await bindTcp(server, spec), options);
    }
    case 'https': {
      const pki = options.pki!;
      const server = https.createServer(
        { ...limits, ...tlsOptions(pki.serverIdentity()), handshakeTimeout: tlsHandshakeTimeoutMs },
        options.handler,
      );
      // New connections see the new certificate; those that are open keep the keys that they have.
      const stop = pki.onRenewed(() => server.setSecureContext(tlsOptions(pki.serverIdentity())));
      server.on('close', stop);
      server.on('tlsClientError', (error, socket) => log.debug('TLS handshake failed', { error, address: socket.remoteAddress }));
      return serve(server, 'tls', await bindTcp(server, spec), options);
    }
  }
}

const tlsOptions = (identity: SecureContextOptions): https.ServerOptions => ({
  ...identity,
  minVersion: 'TLSv1.2',
  // Who has no certificate gets in as nobody, to join or to ask for health; who has a wrong one is nobody too.
  requestCert: true,
  rejectUnauthorized: false,
  // A resumed session would bring a client certificate in without looking at it again.
  secureOptions: constants.SSL_OP_NO_TICKET,
  ALPNProtocols: ['http/1.1'],
});

function serve(server: http.Server | https.Server, via: Via, endpoint: string, options: ListenersOptions): Opened {
  const { identities, onUpgrade, log = silentLogger } = options;
  const sockets = new Set<Socket>();
  server.maxConnections = options.maxConnections ?? defaultMaxConnections;
  server.on(via === 'tls' ? 'secureConnection' : 'connection', (socket: Socket) => {
    identities.mark(socket, via);
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (request, socket, head) => {
    // From here on nobody else listens for errors on this socket, and one without a listener ends the process.
    socket.on('error', (error) => log.debug('upgraded connection failed', { error }));
    if (via === 'insecure-loopback' && !isFromThisComputer(request)) return refuseUpgrade(socket, 403);
    if (onUpgrade) onUpgrade(request, socket, head);
    else refuseUpgrade(socket, 404);
  });
  log.info('listening', { endpoint });
  return {
    endpoint,
    async close(graceMs) {
      const closed = once(server, 'close');
      server.close();
      server.closeIdleConnections();
      const timer = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

/** Ends an upgrade request with a plain answer. */
export function refuseUpgrade(socket: Duplex, code: 400 | 401 | 403 | 404 | 429 | 503, why = ''): void {
  const body = why && `${why}\n`;
  socket.end(
    `HTTP/1.1 ${code} ${http.STATUS_CODES[code]}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

async function bindTcp(server: net.Server, { kind, host, port, fd }: ListenSpec & { kind: 'http' | 'https' }): Promise<string> {
  await listen(server, fd === undefined ? { host, port } : { fd }, `${kind}://${host}:${port}`);
  const taken = (server.address() as AddressInfo).port;
  return `${kind}://${net.isIPv6(host) ? `[${host}]` : host}:${taken}`;
}

async function listen(server: net.Server, on: net.ListenOptions | { readonly fd: number }, endpoint: string): Promise<void> {
  const listening = once(server, 'listening');
  server.listen(on);
  try {
    await listening;
  } catch (error) {
    throw new StartRefused(`cannot listen on ${endpoint}: ${(error as Error).message}`, { cause: error });
  }
}

async function bindUnixSocket(server: net.Server, file: string, group: string, log: Logger): Promise<void> {
  try {
    await mkdir(path.dirname(file), { recursive: true, mode: 0o755 });
    await removeStaleSocket(file);
    await listenPrivately(server, file);
    const gid = await groupId(group);
    if (gid === undefined) log.info('no such group: only root may use the unix socket', { group });
    else await chown(file, process.geteuid!(), gid);
    await chmod(file, 0o660);
  } catch (error) {
    if (server.listening) server.close();
    if (error instanceof StartRefused) throw error;
    throw new StartRefused(`cannot listen on unix://${file}: ${(error as Error).message}`, { cause: error });
  }
}

async function listenPrivately(server: net.Server, file: string): Promise<void> {
  const listening = once(server, 'listening');
  // bind(2) happens inside listen(): with this mask the socket is never, not even for a moment, open to others.
  const mask = process.umask(0o177);
  try {
    server.listen({ path: file });
  } finally {
    process.umask(mask);
  }
  await listening;
}

/** A socket that nobody answers on is left over from a server that was killed. Anything else is not ours to remove. */
async function removeStaleSocket(file: string): Promise<void> {
  const found = await lstat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (!found) return;
  if (!found.isSocket()) throw new StartRefused(`${file} exists and is no socket: it will not be removed`);
  const code = await new Promise<string>((resolve) => {
    const probe = net.connect(file);
    probe.on('connect', () => {
      probe.destroy();
      resolve('answered');
    });
    probe.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
  if (code === 'answered') throw new StartRefused(`another server answers on ${file}`);
  if (code === 'ECONNREFUSED') await unlink(file);
  else if (code !== 'ENOENT') throw new StartRefused(`cannot tell whether a server answers on ${file}: ${code}`);
}

/** gid from /etc/group; undefined when there is no such group. */
async function groupId(name: string): Promise<number | undefined> {
  const text = await readFile('/etc/group', 'utf8').catch(() => '');
  const line = text.split('\n').find((each) => each.startsWith(`${name}:`));
  const gid = Number(line?.split(':')[2]);
  return Number.isInteger(gid) && line !== undefined ? gid : undefined;
}

/**
 * A web page in a browser on this computer can send requests to loopback, and by DNS rebinding even read the answers. It cannot choose
 * the Host header, and it cannot hide where it comes from.
 */
function isFromThisComputer({ headers }: IncomingMessage): boolean {
  const { host, origin } = headers;
  if (host === undefined || !isLoopback(hostOf(`http://${host}`))) return false;
  if (headers['sec-fetch-site'] === 'cross-site') return false;
  return origin === undefined || isLoopback(hostOf(origin));
}

function hostOf(url: string): string {
  try {
    return new URL(url).hostname.replace(/^\[|\]$/g, '');
  } catch {
    return '';
  }
}

const onlyFromThisComputer =
  (handler: RequestListener): RequestListener =>
  (request, response) => {
    if (isFromThisComputer(request)) return handler(request, response);
    response.writeHead(403, { 'content-type': 'text/plain', connection: 'close' });
    response.end('this address is for programs on this computer: the request names another host or comes from a web page\n');
  };

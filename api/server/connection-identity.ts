/** Who is at the other end: read from the connection, once, and never from what a request says. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock } from '../../runtime/clock.js';
import type { Identity } from './identity.js';
import type { IdentityOf } from './ports.js';
import { certificateHolder } from './trust/names.js';

/** How a connection came in: a listener marks each of its connections with this before the first request is read. */
export type Via = 'unix-socket' | 'insecure-loopback' | 'tls';

const anonymous: Identity = { kind: 'anonymous' };

/**
 * Reads the identity of marked connections. A connection that no listener of ours marked is anonymous. A certificate counts only while it
 * is valid: a connection that outlives its certificate becomes anonymous.
 */
export class ConnectionIdentities {
  readonly #via = new WeakMap<Socket, Via>();
  readonly #holders = new WeakMap<Socket, { readonly identity: Identity; readonly validToMs: number }>();

  constructor(private readonly clock: Clock) {}

  mark(socket: Socket, via: Via): void {
    this.#via.set(socket, via);
  }

  readonly of: IdentityOf = (request: Pick<IncomingMessage, 'socket'>) => {
    const { socket } = request;
    switch (this.#via.get(socket)) {
      case 'unix-socket':
        return { kind: 'admin', name: 'local-admin', via: 'unix-socket' };
      case 'insecure-loopback':
        return { kind: 'admin', name: 'loopback', via: 'insecure-loopback' };
      case 'tls':
        return socket instanceof TLSSocket ? this.#byCertificate(socket) : anonymous;
      case undefined:
        return anonymous;
    }
  };

  /** Wall-clock milliseconds until which the client certificate of this connection is valid; undefined when it has none. */
  validToMs(socket: Socket): number | undefined {
    return this.#holders.get(socket)?.validToMs;
  }

  #byCertificate(socket: TLSSocket): Identity {
    let known = this.#holders.get(socket);
    if (!known) {
      // `authorized`: the chain leads to our CA and was valid during the handshake. Without that the certificate may say anything.
      if (!socket.authorized) return anonymous;
      const certificate = socket.getPeerCertificate();
      const holder = certificateHolder(certificate);
      if (!holder) return anonymous;
      const identity: Identity = holder.kind === 'admin' ? { ...holder, via: 'certificate' } : holder;
      known = { identity, validToMs: Date.parse(certificate.valid_to) };
      this.#holders.set(socket, known);
    }
    return this.clock.now().getTime() < known.validToMs ? known.identity : anonymous;
  }
}

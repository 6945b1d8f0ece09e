/** The other servers, for what only they can answer: they hold other machines' streams. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Clock } from '../../../runtime/clock.js';
import type { ServerRegistry } from '../servers.js';
import type { IssuedKey, Pki } from '../trust/ca.js';

const certificateLifeMs = 24 * 3_600_000;

export interface PeersOptions {
  readonly registry: Pick<ServerRegistry, 'all'>;
  readonly pki: Pick<Pki, 'issueAdmin' | 'caCertificate'>;
  readonly serverName: string;
  readonly clock: Clock;
}

/** A server that cannot be asked; the message is the end of a sentence about it. */
export class PeerSilent extends Error {
  override readonly name = 'PeerSilent';
}

/** Asks as an admin that calls itself a server: whoever holds the CA's key is one anyway. */
export class Peers {
  #own: { readonly issued: Promise<IssuedKey>; readonly untilMs: number } | undefined;

  constructor(private readonly options: PeersOptions) {}

  /** @param timeoutMs of silence, also once the answer has begun. Throws `PeerSilent` until it has. */
  async ask(server: string, targetOf: (url: URL) => URL, signal: AbortSignal, timeoutMs: number): Promise<IncomingMessage> {
    const { registry, pki } = this.options;
    const url = registry.all().find(({ name }) => name === server)?.urls[0];
    if (url === undefined) throw new PeerSilent('it is not on the list of servers, or has no https listener');
    const { certificate: cert, key } = await this.#certificate();
    const call = https.get(targetOf(new URL(url)), { ca: pki.caCertificate, cert, key, agent: false, signal, timeout: timeoutMs });
    call.on('timeout', () => call.destroy(new Error('it does not answer')));
    try {
      const [response] = (await once(call, 'response')) as [IncomingMessage];
      return response;
    } catch (error) {
      throw new PeerSilent((error as Error).message);
    }
  }

  #certificate(): Promise<IssuedKey> {
    const { pki, serverName, clock } = this.options;
    const nowMs = clock.now().getTime();
    if (!this.#own || nowMs >= this.#own.untilMs) {
      const issued = pki.issueAdmin(`system:server:${serverName}`, certificateLifeMs);
      this.#own = { issued, untilMs: nowMs + certificateLifeMs / 2 };
      // One that could not be made is asked for again, not remembered for half a day.
      issued.catch(() => {
        if (this.#own?.issued === issued) this.#own = undefined;
      });
    }
    return this.#own.issued;
  }
}

/**
 * How a machine becomes a member: the join token pins the cluster's CA, so the server is known before the secret is said; then a signing
 * request for a key that never leaves the machine. Later the certificate renews itself.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { request } from 'node:https';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import { parseJoinToken } from '../api/resources/join-token.js';
import { JoinReply, type JoinRequest, type RenewRequest } from '../api/resources/protocol.js';
import { createRequest, readKeyPair } from '../runtime/x509/certificates.js';
import type { Membership, Pki } from './pki.js';
import { type TlsIdentity, tlsOptions } from './stream.js';
import { sha256 } from './unit-text.js';

const callTimeoutMs = 10_000;
const maxReplyBytes = 1024 * 1024;

export interface JoinOptions {
  readonly servers: readonly string[];
  readonly token: string;
  /** /etc/machine-id */
  readonly machine: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly pki: Pki;
}

/** The server said no, and will say no again: a used or expired token, a wrong pin. */
export class JoinRefused extends Error {
  override readonly name = 'JoinRefused';
}

/** Joins by the first server that answers. Throws `JoinRefused`, or what kept the last server from answering. */
export async function join({ servers, token, machine, labels, pki }: JoinOptions): Promise<Membership> {
  const parsed = parseJoinToken(token);
  if (!parsed) throw new JoinRefused('this is not a join token; `flotilla token create` prints one');
  const key = await pki.joinKey();
  const csr = await createRequest(await readKeyPair(key), machine);
  let last: Error = new Error('no server is configured');
  for (const server of servers) {
    try {
      const ca = await pinnedCa(new URL(server), parsed.caSha256);
      const body: JoinRequest = { token: token.trim(), machine, csr, labels };
      return await pki.store(key, sha256(token.trim()), JoinReply.parse(await post(new URL('/agent/v1/join', server), body, { ca })));
    } catch (error) {
      if (error instanceof JoinRefused) throw error;
      last = error as Error;
    }
  }
  throw last;
}

/** A new key and certificate, asked for with the current one. */
export async function renew(server: string, machine: string, membership: Membership, pki: Pki): Promise<Membership> {
  const key = await pki.newKey();
  const body: RenewRequest = { csr: await createRequest(await readKeyPair(key), machine) };
  return pki.store(
    key,
    membership.tokenSha256,
    JoinReply.parse(await post(new URL('/agent/v1/renew', server), body, tlsOptions(membership))),
  );
}

/** Whether a token asks this machine to join: it is no member yet, its certificate has ended, or it is given a token that is new to it. */
export const shouldJoin = (membership: Membership | undefined, token: string | undefined, nowMs: number): boolean =>
  membership === undefined || (token !== undefined && (membership.notAfterMs <= nowMs || membership.tokenSha256 !== sha256(token.trim())));

/** A third of its life before it ends. */
export const renewAtMs = ({ notBeforeMs, notAfterMs }: Pick<Membership, 'notBeforeMs' | 'notAfterMs'>): number =>
  notBeforeMs + ((notAfterMs - notBeforeMs) * 2) / 3;

/**
 * The CA certificate that the server shows and the token pins; PEM. Nothing is sent to a server before it has shown it: whether it also
 * holds a key signed by that CA is checked by the connection that follows.
 */
export function pinnedCa(server: URL, caSha256: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: server.hostname.replace(/^\[|\]$/g, ''),
      port: Number(server.port || 443),
      rejectUnauthorized: false,
      timeout: callTimeoutMs,
    });
    socket.on('timeout', () => socket.destroy(new Error(`${server.host} does not answer`)));
    socket.on('error', reject);
    socket.on('secureConnect', () => {
      const ca = chainOf(socket.getPeerCertificate(true)).find((der) => createHash('sha256').update(der).digest('base64url') === caSha256);
      socket.destroy();
      if (ca) resolve(new X509Certificate(ca).toString());
      else reject(new JoinRefused(`${server.host} is not of the cluster that the token is from: its CA is another one`));
    });
  });
}

function chainOf(leaf: DetailedPeerCertificate): Buffer[] {
  const chain: Buffer[] = [];
  for (let at: DetailedPeerCertificate | undefined = leaf; at?.raw && chain.length < 10; at = at.issuerCertificate) {
    chain.push(at.raw);
    if (at.issuerCertificate === at) break;
  }
  return chain;
}

function post(url: URL, body: object, tls: Partial<ReturnType<typeof tlsOptions>> & Pick<TlsIdentity, 'ca'>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const call = request(
      url,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        timeout: callTimeoutMs,
        rejectUnauthorized: true,
        agent: false,
        ...tls,
      },
      (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > maxReplyBytes) call.destroy(new Error(`${url.host} answers with more than ${maxReplyBytes} bytes`));
          else chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const status = response.statusCode ?? 0;
          try {
            if (status === 200 || status === 201) resolve(JSON.parse(text));
            else {
              const message = `${url.host}${url.pathname}: ${messageOf(text)} (${status})`;
              reject(status >= 400 && status < 500 && status !== 429 ? new JoinRefused(message) : new Error(message));
            }
          } catch (error) {
            reject(error);
          }
        });
      },
    );
    call.on('timeout', () => call.destroy(new Error(`${url.host} does not answer`)));
    call.on('error', reject);
    call.end(JSON.stringify(body));
  });
}

/** The sentence of a Status, or what there is. */
function messageOf(text: string): string {
  try {
    const status: unknown = JSON.parse(text);
    if (typeof status === 'object' && status !== null && 'message' in status) return String(status.message).slice(0, 500);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return text.slice(0, 200);
}

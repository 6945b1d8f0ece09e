/** A server as agents see it: https with a CA of its own, join and renew, and WebSockets that the test answers by hand. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { WebSocket, WebSocketServer } from 'ws';
import type { TlsIdentity } from '../../agent/stream.js';
import { FromAgent, type FromServer, type JoinReply } from '../../api/resources/protocol.js';
import {
  certificateSha256,
  generateKeyPair,
  issueCertificate,
  type KeyPair,
  privateKeyPem,
  readRequest,
} from '../../runtime/x509/certificates.js';

const day = 86_400_000;

/** A CA, and what it signs. */
export class TestCa {
  private constructor(
    readonly certificate: string,
    readonly keys: KeyPair,
  ) {}

  static async create(): Promise<TestCa> {
    const keys = await generateKeyPair();
    const signer = { ...keys, commonName: 'test CA' };
    const content = {
      commonName: 'test CA',
      notBefore: new Date(Date.now() - day),
      notAfter: new Date(Date.now() + 365 * day),
      publicKey: keys.publicKey,
    };
    return new TestCa(await issueCertificate({ ...content, usage: 'ca' }, signer), keys);
  }

  get pin(): string {
    return certificateSha256(this.certificate).toString('base64url');
  }

  async sign(publicKey: KeyPair['publicKey'], usage: 'server' | 'client', lifeMs = 30 * day): Promise<string> {
    return issueCertificate(
      {
        commonName: 'm1',
        notBefore: new Date(Date.now() - 1_000),
        notAfter: new Date(Date.now() + lifeMs),
        publicKey,
        usage: [usage],
        addresses: ['127.0.0.1'],
      },
      { ...this.keys, commonName: 'test CA' },
    );
  }

  async identity(usage: 'server' | 'client'): Promise<TlsIdentity> {
    const keys = await generateKeyPair();
    return { ca: this.certificate, certificate: await this.sign(keys.publicKey, usage), key: await privateKeyPem(keys) };
  }
}

/** One agent's stream, seen from the server. */
export class ServerSide {
  readonly received: FromAgent[] = [];
  readonly #waiting: (() => void)[] = [];

  constructor(readonly socket: WebSocket) {
    socket.on('message', (data) => {
      this.received.push(FromAgent.parse(JSON.parse(data.toString())));
      for (const wake of this.#waiting.splice(0)) wake();
    });
    socket.on('close', () => {
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  send(message: FromServer): void {
    this.socket.send(JSON.stringify(message));
  }

  /** The next message of that type that was not taken yet. */
  async take<Type extends FromAgent['type']>(type: Type): Promise<Extract<FromAgent, { type: Type }>> {
    for (;;) {
      const index = this.received.findIndex((message) => message.type === type);
      if (index >= 0) return this.received.splice(index, 1)[0] as Extract<FromAgent, { type: Type }>;
      if (this.socket.readyState > WebSocket.OPEN) throw new Error(`the stream was closed before a ${type} came`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
}

export interface AgentServerOptions {
  readonly ca: TestCa;
  /** Life of the certificates that it signs for machines. */
  readonly certificateLifeMs?: number;
  readonly clusterUid?: string;
}

export class AgentServer {
  readonly requests: { path: string; body: unknown; hasCertificate: boolean }[] = [];
  readonly options: AgentServerOptions;
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({ noServer: true });
  readonly #streams: ServerSide[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #logs: { path: string; socket: WebSocket }[] = [];
  /** Answer to join and renew instead of a certificate. */
  refusal: { readonly status: number; readonly message: string } | undefined;

  private constructor(options: AgentServerOptions, identity: TlsIdentity) {
    this.options = options;
    this.#server = createServer(
      {
        cert: `${identity.certificate}\n${options.ca.certificate}`,
        key: identity.key,
        ca: options.ca.certificate,
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.on('upgrade', (request, socket, head) => {
      if (!(socket as TLSSocket).authorized) {
        socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
        return;
      }
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
        webSocket.on('error', () => {});
        const path = request.url ?? '';
        if (path === '/agent/v1/stream') this.#streams.push(new ServerSide(webSocket));
        else this.#logs.push({ path, socket: webSocket });
        for (const wake of this.#waiting.splice(0)) wake();
      });
    });
  }

  static async start(options: AgentServerOptions): Promise<AgentServer> {
    const server = new AgentServer(options, await options.ca.identity('server'));
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next stream that an agent opens. */
  async stream(): Promise<ServerSide> {
    while (this.#streams.length === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#streams.shift()!;
  }

  /** The next log connection that an agent opens. */
  async logs(): Promise<{ path: string; socket: WebSocket }> {
    while (this.#logs.length === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#logs.shift()!;
  }

  async stop(): Promise<void> {
    for (const client of this.#sockets.clients) client.terminate();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString()) as { csr: string };
    this.requests.push({ path: request.url ?? '', body, hasCertificate: (request.socket as TLSSocket).authorized });
    const { refusal } = this;
    if (refusal) {
      response.writeHead(refusal.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ kind: 'Status', message: refusal.message }));
      return;
    }
    const { ca, certificateLifeMs, clusterUid = 'c1' } = this.options;
    const reply: JoinReply = {
      certificate: await ca.sign(await readRequest(body.csr), 'client', certificateLifeMs),
      ca: ca.certificate,
      clusterUid,
      machineUid: 'mu1',
      servers: [this.url],
    };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(reply));
  }
}

/** Talks to a server: over its unix socket, https with a client certificate, or plain http on loopback. */
import { readFileSync } from 'node:fs';
import { Agent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { addressOf } from './address.js';
import { CliError, usageError } from './exit.js';
import { say } from './output.js';

export interface ClientOptions {
  /** unix:///path (or just /path), https://host:port or http://127.0.0.1:port */
  readonly endpoint: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** A socket on this computer that leads to the endpoint, and what stands between. */
  readonly via?: Via;
  /** Whether each request and the beginning of its answer are told on stderr. */
  readonly debug?: boolean;
  /** Milliseconds that one request may take until its answer begins; streams are not limited. */
  readonly requestTimeoutMs: number;
}

export interface Via {
  readonly socketPath: string;
  /** As in `cannot reach ENDPOINT through NAME`. */
  readonly name: string;
  /** Why the endpoint cannot be reached from there, when that is known; else ''. */
  complaint(): Promise<string>;
}

export interface Request {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

/** The body of a Kubernetes Status: what the server says when it refuses. */
export interface Status {
  readonly kind: 'Status';
  readonly message: string;
  readonly reason: string;
  readonly code: number;
  readonly details?: { readonly causes?: readonly { readonly reason?: string; readonly message: string; readonly field?: string }[] };
}

/** The server refused; `status` holds its words. */
export class ServerError extends CliError {
  constructor(readonly status: Status) {
    super(`Error from server (${status.reason}): ${status.message}`);
  }
}

/** How to reach a server: what every request has, and which `request` sends it. */
interface Route {
  readonly target: RequestOptions & { readonly agent: Agent; readonly servername?: string };
  readonly send: typeof httpRequest;
}

export class Client {
  readonly #endpoint: string;
  readonly #via: Via | undefined;
  readonly #timeoutMs: number;
  readonly #isTalkative: boolean;
  readonly #open: () => Promise<Route>;
  #route: Promise<Route> | undefined;

  constructor(options: ClientOptions) {
    this.#endpoint = options.endpoint;
    this.#via = options.via;
    this.#timeoutMs = options.requestTimeoutMs;
    this.#isTalkative = options.debug ?? false;
    this.#open = routeTo(options);
  }

  /** One request and its whole answer, whatever its status. */
  async fetch(path: string, request: Request = {}): Promise<Reply> {
    const response = await this.open(path, request);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return { status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString() };
  }

  /** Like `fetch`, parsed; a refusal throws ServerError. Warnings of the server go to stderr. */
  async json<T>(path: string, request: Request = {}): Promise<T> {
    const reply = await this.fetch(path, request);
    if (reply.status >= 400) throw this.refusal(reply);
    for (const warning of warningsOf(reply)) process.stderr.write(`Warning: ${warning}\n`);
    return JSON.parse(reply.text) as T;
  }

  refusal({ status, text }: Pick<Reply, 'status' | 'text'>): CliError {
    try {
      const body = JSON.parse(text) as Status;
      if (body.kind === 'Status') return new ServerError(body);
    } catch {
      // Not one of ours: a proxy, or something else that listens there. Its own words are all there is to say.
    }
    return new CliError(`${this.#endpoint} answered ${status}: ${text.trim().slice(0, 500) || 'nothing more'}`);
  }

  /** The answer as a stream: for watches and logs. */
  async open(path: string, request: Request = {}): Promise<IncomingMessage> {
    this.#route ??= this.#open();
    const { target, send } = await this.#route;
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries(request.query ?? {})) if (value !== undefined) query.set(key, String(value));
    const body = request.body === undefined ? undefined : typeof request.body === 'string' ? request.body : JSON.stringify(request.body);
    const method = request.method ?? 'GET';
    const whole = query.size > 0 ? `${path}?${query}` : path;
    const begunAtMs = Date.now();
    return new Promise((resolve, reject) => {
      const req = send({
        ...target,
        method,
        path: whole,
        headers: {
          accept: request.accept ?? 'application/json',
          'user-agent': 'flotilla',
          ...(body === undefined
            ? {}
            : { 'content-type': request.contentType ?? 'application/json', 'content-length': Buffer.byteLength(body) }),
        },
        ...(request.signal ? { signal: request.signal } : {}),
      });
      const timer = setTimeout(() => req.destroy(new Error(`no answer within ${this.#timeoutMs / 1_000} s`)), this.#timeoutMs);
      req.on('response', (response) => {
        clearTimeout(timer);
        if (this.#isTalkative) say(`debug: ${method} ${whole}: ${response.statusCode} after ${Date.now() - begunAtMs} ms`);
        resolve(response);
      });
      req.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        if (request.signal?.aborted) reject(error);
        else this.#unreachable(error).then(reject, reject);
      });
      req.end(body);
    });
  }

  async close(): Promise<void> {
    (await this.#route)?.target.agent.destroy();
  }

  async #unreachable(error: NodeJS.ErrnoException): Promise<CliError> {
    if (!this.#via) return new CliError(`cannot reach ${this.#endpoint}: ${whyUnreachable(error)}`);
    const why = (await this.#via.complaint()) || whyUnreachable(error);
    return new CliError(`cannot reach ${this.#endpoint} through ${this.#via.name}: ${why}`);
  }
}

/** Reads the endpoint at once, so that a wrong one is told before anything is done; TLS is loaded only by those who use it. */
function routeTo(options: ClientOptions): () => Promise<Route> {
  const { via } = options;
  const address = addressOf(options.endpoint);
  const through = via && { socketPath: via.socketPath };
  if (address.kind === 'unix') {
    const { socketPath } = address;
    // A name for TLS, that there is none: node would look whether "localhost" is an IPv6 address, which takes it 7 ms the first time.
    const target = { socketPath, servername: '', ...through, agent: new Agent({ keepAlive: true }) };
    return async () => ({ target, send: httpRequest });
  }
  const { host, port, isTls } = address;
  if (!isTls) return async () => ({ target: { host, port, ...through, agent: new Agent({ keepAlive: true }) }, send: httpRequest });

  const read = (flag: string, file: string | undefined) => {
    try {
      return file === undefined ? undefined : readFileSync(file);
    } catch (error) {
      throw usageError(`--${flag} ${file}: ${(error as Error).message}`);
    }
  };
  const ca = read('ca-file', options.caFile);
  const cert = read('cert-file', options.certFile);
  const key = read('key-file', options.keyFile);
  return async () => {
    const { Agent: TlsAgent, request } = await import('node:https');
    const agent = new TlsAgent({ keepAlive: true, ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) });
    return { target: { host, port, ...through, agent }, send: request as typeof httpRequest };
  };
}

/** What a failed connection means, and what to try, for the failures that people meet. */
function whyUnreachable({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'ENOENT':
      return 'there is no such socket; is a server running here? (flotilla dev, or flotilla server)';
    case 'EACCES':
      return 'no permission; the socket belongs to root and the group "flotilla"';
    case 'ECONNREFUSED':
      return 'nobody listens there; is the server running?';
    case 'ECONNRESET':
      return 'the connection was closed; an https listener is reached with https://';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its name is not known';
    case 'EPROTO':
      return 'it does not speak TLS; a plain http listener is reached with http://';
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return "its certificate is from a CA that is not known here; give the cluster's CA with --ca-file";
    case 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED':
      return 'it asks for a client certificate: --cert-file and --key-file';
    default:
      return message.trim();
  }
}

/** `Warning: 299 - "text"` headers. */
function warningsOf(reply: Reply): string[] {
  const header = reply.headers.warning;
  if (!header) return [];
  return [...header.matchAll(/299 [^ ]+ ("(?:[^"\\]|\\.)*")/g)].map(([, quoted]) => JSON.parse(quoted!) as string);
}

/** Lines of a stream, without their newline; the last one also when the stream ends without one. */
export async function* linesOf(stream: AsyncIterable<unknown>): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    rest += decoder.decode(chunk as Buffer, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  if (rest) yield rest;
}

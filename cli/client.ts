/** Talks to a server: over its unix socket, https with a client certificate, or plain http on loopback. */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { CliError, usageError } from './exit.js';

export interface ClientOptions {
  /** unix:///path, https://host:port or http://127.0.0.1:port */
  readonly endpoint: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Milliseconds that one request may take until its answer begins; streams are not limited. */
  readonly requestTimeoutMs: number;
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

export class Client {
  readonly #target: RequestOptions;
  readonly #send: typeof httpRequest;
  readonly #endpoint: string;
  readonly #timeoutMs: number;

  constructor(options: ClientOptions) {
    const { endpoint } = options;
    this.#endpoint = endpoint;
    this.#timeoutMs = options.requestTimeoutMs;
    if (endpoint.startsWith('unix://')) {
      this.#send = httpRequest;
      this.#target = { socketPath: endpoint.slice('unix://'.length), agent: new HttpAgent({ keepAlive: true }) };
      return;
    }
    const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
    if (!url || !['http:', 'https:'].includes(url.protocol)) {
      throw usageError(`endpoint ${JSON.stringify(endpoint)}: expected unix:///path, https://host:port or http://127.0.0.1:port`);
    }
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    if (url.protocol === 'http:') {
      this.#send = httpRequest;
      this.#target = { host, port, agent: new HttpAgent({ keepAlive: true }) };
    } else {
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
      this.#send = httpsRequest as typeof httpRequest;
      this.#target = {
        host,
        port,
        agent: new HttpsAgent({ keepAlive: true, ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) }),
      };
    }
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
  open(path: string, request: Request = {}): Promise<IncomingMessage> {
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries(request.query ?? {})) if (value !== undefined) query.set(key, String(value));
    const body = request.body === undefined ? undefined : typeof request.body === 'string' ? request.body : JSON.stringify(request.body);
    return new Promise((resolve, reject) => {
      const req = this.#send({
        ...this.#target,
        method: request.method ?? 'GET',
        path: query.size > 0 ? `${path}?${query}` : path,
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
        resolve(response);
      });
      req.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        reject(request.signal?.aborted ? error : this.#unreachable(error));
      });
      req.end(body);
    });
  }

  close(): void {
    (this.#target.agent as HttpAgent).destroy();
  }

  #unreachable(error: NodeJS.ErrnoException): CliError {
    const why =
      error.code === 'ENOENT'
        ? 'there is no such socket; is a server running here? (flotilla dev, or flotilla server)'
        : error.code === 'EACCES'
          ? 'no permission; the socket belongs to root and the group "flotilla"'
          : error.code === 'ECONNREFUSED'
            ? 'nobody listens there; is the server running?'
            : error.message;
    return new CliError(`cannot reach ${this.#endpoint}: ${why}`);
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

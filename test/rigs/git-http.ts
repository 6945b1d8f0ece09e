/** Repositories over HTTP: a small server on loopback around git's own http-backend, with a password if it is given one. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export class GitHttpServer {
  /** The value of Authorization that is asked for; undefined: everybody may read. */
  authorization: string | undefined;
  /** Requests that were answered, as `GET /x.git/info/refs`. */
  readonly requests: string[] = [];

  private constructor(
    private readonly root: string,
    private readonly server: Server,
    private readonly scheme: 'http' | 'https',
  ) {}

  /** @param tls key and certificate, PEM: then it speaks https alone */
  static async start(root: string, tls?: { readonly key: string; readonly cert: string }): Promise<GitHttpServer> {
    const server = tls === undefined ? createServer() : createTlsServer(tls);
    const git = new GitHttpServer(root, server, tls === undefined ? 'http' : 'https');
    server.on('request', (request, response) => git.#answer(request, response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return git;
  }

  get url(): string {
    return `${this.scheme}://127.0.0.1:${this.port}`;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, search } = new URL(request.url ?? '/', this.url);
    this.requests.push(`${request.method} ${pathname}`);
    if (this.authorization !== undefined && request.headers.authorization !== this.authorization) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
      return;
    }
    const header = (name: string) => String(request.headers[name] ?? '');
    const backend = spawn('git', ['http-backend'], {
      env: {
        PATH: process.env.PATH ?? '/usr/bin:/bin',
        GIT_PROJECT_ROOT: this.root,
        GIT_HTTP_EXPORT_ALL: '1',
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        PATH_INFO: pathname,
        QUERY_STRING: search.slice(1),
        REQUEST_METHOD: request.method ?? 'GET',
        CONTENT_TYPE: header('content-type'),
        HTTP_CONTENT_ENCODING: header('content-encoding'),
        GIT_PROTOCOL: header('git-protocol'),
        REMOTE_ADDR: '127.0.0.1',
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    // Whoever hangs up early is no concern of this server's.
    backend.stdin.on('error', () => {});
    request.pipe(backend.stdin);
    const chunks: Buffer[] = [];
    backend.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    backend.on('close', () => {
      const output = Buffer.concat(chunks);
      const end = output.indexOf('\r\n\r\n');
      const headers = output
        .subarray(0, Math.max(0, end))
        .toString()
        .split('\r\n')
        .map((line) => line.split(': ') as [string, string]);
      const status = Number(headers.find(([name]) => name === 'Status')?.[1].slice(0, 3) ?? (end < 0 ? 500 : 200));
      response.writeHead(status, Object.fromEntries(headers.filter(([name]) => name !== 'Status' && name !== '')));
      response.end(output.subarray(end + 4));
    });
  }
}

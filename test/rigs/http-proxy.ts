/** A forward proxy on loopback: CONNECT for https and whole addresses for http, to the ports that a host name stands for; with a password if it is given one. */
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export class HttpProxy {
  /** The value of Proxy-Authorization that is asked for; undefined: everybody may use it. */
  authorization: string | undefined;
  /** What was let through, as `CONNECT git.example:443`. */
  readonly requests: string[] = [];
  readonly #sockets = new Set<Duplex>();

  private constructor(
    private readonly server: Server,
    private readonly hosts: ReadonlyMap<string, number>,
  ) {}

  /** @param hosts `name:port` as clients say it → port on loopback */
  static async start(hosts: ReadonlyMap<string, number>): Promise<HttpProxy> {
    const server = createServer();
    const proxy = new HttpProxy(server, hosts);
    server.on('request', (request, response) => proxy.#forward(request, response));
    server.on('connect', (request, socket) => proxy.#tunnel(request, socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  #mayPass({ headers }: IncomingMessage): boolean {
    return this.authorization === undefined || headers['proxy-authorization'] === this.authorization;
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    if (!this.#mayPass(request)) {
      response.writeHead(407, { 'proxy-authenticate': 'Basic realm="proxy"', connection: 'close' }).end();
      return;
    }
    const { host, hostname, port, pathname, search } = new URL(request.url ?? '');
    const to = this.hosts.get(`${hostname}:${port || 80}`);
    if (to === undefined) return void response.writeHead(502).end();
    this.requests.push(`${request.method} ${host}${pathname}`);
    const { 'proxy-authorization': _own, ...headers } = request.headers;
    const onward = httpRequest({ host: '127.0.0.1', port: to, method: request.method, path: pathname + search, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  }

  #tunnel(request: IncomingMessage, socket: Duplex): void {
    this.#keep(socket);
    if (!this.#mayPass(request)) {
      socket.end(
        'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="proxy"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
      );
      return;
    }
    const to = this.hosts.get(request.url ?? '');
    if (to === undefined) return void socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
    this.requests.push(`CONNECT ${request.url}`);
    const onward: Socket = connect(to, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    this.#keep(onward);
    onward.on('close', () => socket.destroy());
    socket.on('close', () => onward.destroy());
  }

  #keep(socket: Duplex): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }
}

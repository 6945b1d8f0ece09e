/** The real app over a store in memory, with the real cache and object door behind it, answering on a free port. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { openClusterCache } from '../../../api/objects/cache.js';
import { openObjectDoor } from '../../../api/objects/door.js';
import { keysUnder } from '../../../api/resources/keys.js';
import { kinds } from '../../../api/resources/registry.js';
import { type AppOptions, createApp } from '../../../api/server/app.js';
import type { Identity } from '../../../api/server/identity.js';
import type { Authorize, OutputSource } from '../../../api/server/ports.js';
import { systemClock } from '../../../runtime/clock.js';
import { silentLogger } from '../../../runtime/log.js';
import { createMetrics } from '../../../runtime/metrics.js';
import { MemoryStore } from '../../../runtime/store/memory-store.js';

export const admin: Identity = { kind: 'admin', name: 'test', via: 'unix-socket' };
export const machine: Identity = { kind: 'machine', machine: 'f'.repeat(32), uid: 'machine-uid' };
export const anonymous: Identity = { kind: 'anonymous' };

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a test reads out of an answer is what it asserts.
  readonly json: any;
}

export interface Call {
  readonly headers?: http.OutgoingHttpHeaders;
  /** An object is sent as JSON. */
  readonly body?: unknown;
  readonly type?: string;
}

const noOutputs: OutputSource = {
  open: async () => {
    throw new Error('this test reads no output');
  },
};
const adminsOnly: Authorize = (identity) =>
  identity.kind === 'admin' ? { allowed: true } : { allowed: false, reason: 'only admins may, in this test' };

/** @param store another server's client of the same store, made by `peer()`; else a store of its own */
export async function startRig(options: Partial<AppOptions> = {}, store = new MemoryStore()) {
  const clock = options.clock ?? systemClock;
  const keys = keysUnder();
  const metrics = createMetrics({ component: 'test', version: '0.0.0', process: false });
  const stop = new AbortController();
  const { cache, hub } = openClusterCache({ store, keys, clock: systemClock, log: silentLogger, signal: stop.signal });
  await cache.untilSynced();
  const door = openObjectDoor({ kinds, cache, store, keys });
  const who = { identity: admin };
  const app = await createApp({
    cache,
    hub,
    door,
    store,
    kinds,
    metrics,
    log: silentLogger,
    clock,
    identityOf: () => who.identity,
    authorize: adminsOnly,
    outputs: noOutputs,
    usage: { of: async () => new Map() },
    server: { name: 'alpha', version: '0.1.0' },
    servers: () => [{ name: 'alpha', version: '0.1.0', urls: ['https://alpha:7443'] }],
    clusterUid: 'cluster-uid',
    ...options,
  });
  await app.fastify.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.fastify.server.address() as AddressInfo;
  const agent = new http.Agent({ keepAlive: true });

  function send(method: string, path: string, { headers = {}, body, type }: Call = {}): Promise<http.IncomingMessage> {
    const payload = body === undefined ? undefined : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const all = {
      ...(payload !== undefined && { 'content-type': type ?? 'application/json', 'content-length': Buffer.byteLength(payload) }),
      ...headers,
    };
    return new Promise((resolve, reject) => {
      const request = http.request({ port, host: '127.0.0.1', method, path, headers: all, agent }, resolve);
      request.on('error', reject);
      request.end(payload);
    });
  }

  async function call(method: string, path: string, given?: Call): Promise<Answer> {
    const response = await send(method, path, given);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const isJson = response.headers['content-type']?.startsWith('application/json') && text !== '';
    return { status: response.statusCode!, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
  }

  return {
    store,
    keys,
    cache,
    door,
    metrics,
    app,
    who,
    port,
    url: `http://127.0.0.1:${port}`,
    send,
    call,
    get: (path: string, headers?: http.OutgoingHttpHeaders) => call('GET', path, headers ? { headers } : {}),
    /** Opens a watch: its lines, one at a time. */
    async watch(path: string, headers?: http.OutgoingHttpHeaders): Promise<Lines> {
      return new Lines(await send('GET', path, headers ? { headers } : {}));
    },
    /** What changed while the server was cut off from etcd is compacted away: its cache lists again, and every watch has a gap. */
    async loseHistory(): Promise<void> {
      store.faults.watchesCut = true;
      const key = `${keys.root}lost/${await store.revision()}`;
      await store.peer().commit({ compares: [{ key, modRevision: 0 }], operations: [{ do: 'put', key, value: '{}' }] });
      store.compact();
      store.faults.watchesCut = false;
    },
    async close() {
      await app.fastify.close();
      agent.destroy();
      stop.abort();
      await store.close();
    },
  };
}

export type Rig = Awaited<ReturnType<typeof startRig>>;

/** The lines of an answer that stays open. */
export class Lines {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest = '';

  constructor(readonly response: http.IncomingMessage) {
    this.#chunks = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** The next line as JSON; undefined when the answer has ended. */
  // biome-ignore lint/suspicious/noExplicitAny: what a test reads out of an answer is what it asserts.
  async next(): Promise<any> {
    for (;;) {
      const end = this.#rest.indexOf('\n');
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return JSON.parse(line);
      }
      const { value, done } = await this.#chunks.next();
      if (done) return undefined;
      this.#rest += value.toString();
    }
  }

  /** `TYPE name` of the next `count` events. */
  async types(count: number): Promise<string[]> {
    const seen: string[] = [];
    for (let index = 0; index < count; index++) {
      const line = await this.next();
      seen.push(line === undefined ? 'END' : `${line.type} ${line.object.metadata?.name ?? ''}`.trim());
    }
    return seen;
  }

  close(): void {
    this.response.destroy();
  }
}

export const units = '/apis/flotilla.dev/v1/units';

export const unitBody = (name: string, more: { labels?: Record<string, string>; spec?: object } = {}) => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Unit',
  metadata: { name, ...(more.labels && { labels: more.labels }) },
  spec: { content: '[Service]\nExecStart=/bin/sleep infinity\n', ...more.spec },
});

/**
 * Connections to etcd, one client of etcd3 per endpoint. From etcd3 we take the protocol and the channels, and nothing that decides:
 * its retries repeat writes that were applied, its breaker refuses every call for 5 s after one that was too large, its watcher and
 * lease lose events and time. So a call here is one attempt with one deadline, and its error says what is known about its effect.
 */
import { noop } from 'cockatiel';
import {
  ClusterClient,
  Etcd3,
  type ICallable,
  type IDuplexStream,
  type ILeaseKeepAliveRequest,
  type ILeaseKeepAliveResponse,
  type IResponseHeader,
  type IWatchRequest,
  type IWatchResponse,
  KVClient,
  LeaseClient,
  MaintenanceClient,
  type Services,
  WatchClient,
} from 'etcd3';

/** PEM texts: the CA that signed etcd's certificate, and our certificate with its key when etcd asks for one. */
export interface EtcdCredentials {
  readonly ca: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
}

export type WatchStream = IDuplexStream<IWatchRequest, IWatchResponse>;
export type KeepAliveStream = IDuplexStream<ILeaseKeepAliveRequest, ILeaseKeepAliveResponse>;

/** What a failed call tells about its effect. */
export type Effect =
  /** It never reached etcd, or etcd put it off: nothing happened, and trying again may help. */
  | 'none'
  /** etcd looked at it and said no: nothing happened, and the same call will be refused again. */
  | 'refused'
  /** The answer was lost: it may have happened, and may still happen. */
  | 'unknown';

export class EtcdCallError extends Error {
  override readonly name = 'EtcdCallError';
  constructor(
    message: string,
    readonly effect: Effect,
    readonly endpoint: string,
  ) {
    super(message);
  }
}

/** gRPC status codes that we tell apart. */
const DEADLINE_EXCEEDED = 4;
const UNAVAILABLE = 14;
const CANCELLED = 1;
const UNKNOWN = 2;
const INTERNAL = 13;

const neverSent = /No connection established|Name resolution failed|Channel closed before call started|Waiting for LB pick/;
const putOff = /etcdserver: (no leader|too many requests|not capable)/;

/** Reads the effect out of a gRPC error. Whatever is not known to be harmless counts as unknown. */
function effectOf(code: number | undefined, message: string): Effect {
  if (neverSent.test(message) || putOff.test(message)) return 'none';
  const lost = [CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, undefined];
  // "etcdserver: request timed out" and the like come with UNAVAILABLE: the proposal may still be applied.
  return lost.includes(code) ? 'unknown' : 'refused';
}

/** Services that a member answers from its own knowledge, leader or not. */
const aboutItself: ReadonlySet<keyof typeof Services> = new Set(['Cluster', 'Maintenance']);

interface CallOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

interface GrpcError extends Error {
  readonly code?: number;
}
type Unary = (
  request: unknown,
  metadata: unknown,
  options: { deadline: number },
  done: (error: GrpcError | null, answer: unknown) => void,
) => { cancel(): void };

/** etcd3's client with its connection pool in reach. */
class Connection extends Etcd3 {
  get connections(): Etcd3['pool'] {
    return this.pool;
  }
}

/** Attempts are bounded by the caller's deadline; this one is for calls that forget. */
const DEFAULT_TIMEOUT_MS = 2000;

/** One member as we reach it. Every call is one attempt; errors are `EtcdCallError`. */
export class Endpoint {
  readonly cluster: ClusterClient;
  readonly maintenance: MaintenanceClient;
  readonly #connection: Connection;
  readonly #sawRevision: (revision: number) => void;
  #closed = false;

  constructor(
    readonly url: string,
    credentials: EtcdCredentials | undefined,
    sawRevision: (revision: number) => void,
  ) {
    this.#sawRevision = sawRevision;
    this.#connection = new Connection({
      hosts: url,
      // etcd3 would speak TLS to an http endpoint too, once it has credentials.
      ...(credentials &&
        url.startsWith('https:') && {
          credentials: {
            rootCertificate: Buffer.from(credentials.ca),
            ...(credentials.key && { privateKey: Buffer.from(credentials.key) }),
            ...(credentials.cert && { certChain: Buffer.from(credentials.cert) }),
          },
        }),
      faultHandling: { host: () => noop, global: noop },
      grpcOptions: {
        // etcd cuts connections that ping more often than every 5 s, and those that ping without an open call.
        'grpc.keepalive_time_ms': 6000,
        'grpc.keepalive_timeout_ms': 3000,
        'grpc.keepalive_permit_without_calls': 0,
        // A backlog or a page may be larger than gRPC's 4 MiB; that would cut the stream for ever.
        'grpc.max_receive_message_length': -1,
        'grpc.max_send_message_length': -1,
        'grpc.enable_retries': 0,
        'grpc.service_config_disable_resolution': 1,
        'grpc.enable_http_proxy': 0,
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 1000,
        // A connection each for calls, watches and keepalives: a large page never delays a keepalive.
        'grpc.use_local_subchannel_pool': 1,
      },
    });
    this.cluster = new ClusterClient(this.#callable());
    this.maintenance = new MaintenanceClient(this.#callable());
  }

  kv(options: CallOptions): KVClient {
    return new KVClient(this.#callable(options));
  }

  lease(options: CallOptions): LeaseClient {
    return new LeaseClient(this.#callable(options));
  }

  openWatch(): Promise<WatchStream> {
    return new WatchClient(this.#callable()).watch();
  }

  openKeepAlive(): Promise<KeepAliveStream> {
    return new LeaseClient(this.#callable()).leaseKeepAlive();
  }

  close(): void {
    this.#closed = true;
    this.#connection.close();
  }

  #callable(options: CallOptions = { timeoutMs: DEFAULT_TIMEOUT_MS }): ICallable<unknown> {
    return {
      callOptionsFactory: undefined,
      markFailed: () => {
        // etcd3 would reset every channel of the host; a broken stream concerns only its owner, who listens for errors.
      },
      withConnection: (service, use) =>
        this.#connection.connections.withConnection(service, ({ resource, client, metadata }) => {
          // A member without a leader refuses at once instead of keeping us waiting, and ends its watches.
          metadata.set('hasleader', 'true');
          return use({ resource, client, metadata });
        }),
      exec: <T>(service: keyof typeof Services, method: string, request: unknown) =>
        this.#call(service, method, request, options) as Promise<T>,
    };
  }

  async #call(service: keyof typeof Services, method: string, request: unknown, { timeoutMs, signal }: CallOptions): Promise<unknown> {
    signal?.throwIfAborted();
    if (this.#closed) throw new EtcdCallError('the store is closed', 'none', this.url);
    // The error is carried out as a value: thrown inside, it would set off etcd3's own fault handling.
    const outcome = await this.#connection.connections.withConnection(service, ({ resource, client, metadata }) => {
      if (!aboutItself.has(service)) metadata.set('hasleader', 'true');
      return new Promise<{ answer: unknown } | { error: GrpcError }>((resolve) => {
        const unary = (client as unknown as Record<string, Unary>)[method];
        if (!unary) throw new Error(`etcd3 has no method ${method}`);
        const call = unary.call(client, request, metadata, { deadline: Date.now() + timeoutMs }, (error, answer) => {
          signal?.removeEventListener('abort', cancel);
          // A call that timed out may hang on a dead connection: the next one gets a new connection, calls in flight keep theirs.
          if (error?.code === DEADLINE_EXCEEDED && !this.#closed) resource.resetAllServices();
          resolve(error ? { error } : { answer });
        });
        const cancel = () => call.cancel();
        signal?.addEventListener('abort', cancel);
      });
    });
    if ('error' in outcome) {
      signal?.throwIfAborted();
      const { code, message } = outcome.error;
      throw new EtcdCallError(message, effectOf(code, message), this.url);
    }
    const { header } = outcome.answer as { header?: IResponseHeader };
    if (header) this.#sawRevision(revisionOf(header.revision));
    return outcome.answer;
  }
}

/** All endpoints, the one that answered last first. */
export class Endpoints {
  readonly all: readonly Endpoint[];
  #preferred = 0;
  #lastRevision = 0;

  constructor(urls: readonly string[], credentials: EtcdCredentials | undefined) {
    if (urls.length === 0) throw new TypeError('at least one etcd endpoint is needed');
    this.all = urls.map((url) => new Endpoint(url, credentials, (revision) => this.#saw(revision)));
  }

  /** The highest revision that any answer has shown: whatever is written from now on gets a higher one. */
  get lastRevision(): number {
    return this.#lastRevision;
  }

  get preferred(): Endpoint {
    return this.all[this.#preferred] as Endpoint;
  }

  /** The endpoint to try after `failed`; the others' choice moves too, unless somebody has moved it already. */
  after(failed: Endpoint): Endpoint {
    if (this.preferred === failed) this.#preferred = (this.#preferred + 1) % this.all.length;
    return this.preferred;
  }

  close(): void {
    for (const endpoint of this.all) endpoint.close();
  }

  #saw(revision: number): void {
    if (revision > this.#lastRevision) this.#lastRevision = revision;
  }
}

/** etcd's 64-bit numbers arrive as text. A cluster would need 285 years at a million revisions a second to outgrow a double. */
export function revisionOf(text: string): number {
  const revision = Number(text);
  if (!Number.isSafeInteger(revision)) throw new RangeError(`etcd sent the revision ${text}`);
  return revision;
}

/** The end of the range of keys that start with `prefix`. */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  for (let i = end.length - 1; i >= 0; i--) {
    if ((end[i] as number) < 0xff) {
      end[i] = (end[i] as number) + 1;
      return end.subarray(0, i + 1);
    }
  }
  return Buffer.from([0]);
}

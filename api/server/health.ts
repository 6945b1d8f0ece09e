/** `/livez`, `/readyz`, `/healthz`: may this server be kept, may it be asked; with `?verbose`, why not. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../runtime/clock.js';
import type { Store } from '../../runtime/store/store.js';
import type { ClusterCache } from '../objects/ports.js';
import { StatusError } from '../resources/errors.js';
import { paramsOf } from './access.js';
import type { ServerLimits } from './limits.js';
import type { HealthCheck } from './ports.js';
import { flag, queryOf } from './query.js';
import { plainAttributes, type Route } from './routes.js';

export interface CheckResult {
  readonly check: HealthCheck;
  readonly ok: boolean;
  readonly message: string;
}

type HealthLimits = Pick<ServerLimits, 'healthTimeoutMs' | 'healthCacheMs'>;

/** Runs each check at most once per `healthCacheMs`, and once at a time, however many ask: health may be asked by strangers. */
export class Health {
  readonly #last = new Map<HealthCheck, { readonly atMs: number; readonly result: Promise<CheckResult> }>();

  constructor(
    readonly checks: readonly HealthCheck[],
    private readonly clock: Clock,
    private readonly limits: HealthLimits,
  ) {}

  results(checks: readonly HealthCheck[]): Promise<readonly CheckResult[]> {
    const atMs = this.clock.monotonicMs();
    return Promise.all(
      checks.map((check) => {
        const last = this.#last.get(check);
        if (last !== undefined && atMs - last.atMs < this.limits.healthCacheMs) return last.result;
        const result = this.#run(check);
        this.#last.set(check, { atMs, result });
        return result;
      }),
    );
  }

  async #run(check: HealthCheck): Promise<CheckResult> {
    const late = new AbortController();
    const deadline = new Promise<{ ok: boolean; message: string }>((resolve) => {
      const cancel = this.clock.after(this.limits.healthTimeoutMs, () => {
        late.abort();
        resolve({ ok: false, message: `no answer within ${this.limits.healthTimeoutMs} ms` });
      });
      late.signal.addEventListener('abort', cancel);
    });
    try {
      return { check, ...(await Promise.race([check.check(late.signal), deadline])) };
    } catch (error) {
      return { check, ok: false, message: error instanceof Error ? error.message : String(error) };
    } finally {
      late.abort();
    }
  }
}

/** The checks that every server has: etcd's members and the cache. */
export function builtInChecks(
  store: Pick<Store, 'members'>,
  cache: Pick<ClusterCache, 'synced' | 'revision' | 'presences' | 'broken'>,
): HealthCheck[] {
  return [
    { name: 'ping', gates: 'live', check: async () => ({ ok: true, message: 'the event loop turns' }) },
    {
      name: 'etcd',
      gates: 'ready',
      async check() {
        const members = await store.members();
        const healthy = members.filter((member) => member.healthy);
        const each = members.map(
          (member) => `${member.name} ${member.healthy ? (member.isLeader ? 'leads' : 'healthy') : `down: ${member.message}`}`,
        );
        return {
          ok: healthy.length > members.length / 2,
          message: `${healthy.length} of ${members.length} members healthy (${each.join(', ')})`,
        };
      },
    },
    {
      name: 'cache',
      gates: 'ready',
      check: async () => ({
        ok: cache.synced,
        message: cache.synced ? `holds revision ${cache.revision}` : 'has not read the cluster from etcd yet',
      }),
    },
    {
      name: 'objects',
      gates: 'info',
      check: async () => ({
        ok: cache.broken.size === 0,
        message:
          cache.broken.size === 0
            ? 'all can be read'
            : `left out, since they cannot be read: ${[...cache.broken.keys()].slice(0, 10).join(', ')}`,
      }),
    },
    { name: 'agents', gates: 'info', check: async () => ({ ok: true, message: `${cache.presences().size} machines present` }) },
  ];
}

/** Which failures count where. */
const gatesOf = { livez: ['live'], readyz: ['live', 'ready'], healthz: ['live', 'ready'] } as const;

function report(results: readonly CheckResult[], path: keyof typeof gatesOf, failed: boolean): string {
  const lines = results.map(({ check, ok, message }) => `[${ok ? '+' : '-'}]${check.name} ${ok ? 'ok' : 'failed'}: ${message}`);
  return `${lines.join('\n')}\n${path} check ${failed ? 'failed' : 'passed'}\n`;
}

function healthHandler(health: Health, path: keyof typeof gatesOf) {
  const gates: readonly string[] = gatesOf[path];
  return async (request: FastifyRequest, reply: FastifyReply): Promise<string> => {
    const name = paramsOf(request).check;
    const verbose = flag(queryOf(request), 'verbose') ?? false;
    // What a check says names members and machines: strangers learn only whether we are well.
    const toldMore = request.identity.kind !== 'anonymous';
    const asked = health.checks.filter((check) =>
      name === undefined ? (verbose && toldMore) || gates.includes(check.gates) : check.name === name,
    );
    if (asked.length === 0) {
      throw new StatusError(
        'NotFound',
        `there is no health check of that name; there are ${health.checks.map((check) => check.name).join(', ')}`,
      );
    }
    const results = await health.results(asked);
    const failed = results.some(({ check, ok }) => !ok && (gates.includes(check.gates) || name !== undefined));
    reply
      .code(failed ? 500 : 200)
      .header('content-type', 'text/plain; charset=utf-8')
      .header('cache-control', 'no-store')
      .header('x-content-type-options', 'nosniff');
    if (toldMore && (verbose || failed)) return report(results, path, failed);
    return failed ? `${path} check failed\n` : 'ok';
  };
}

export function healthRoutes(health: Health): Route[] {
  return (['healthz', 'livez', 'readyz'] as const).flatMap((path) => {
    const handler = healthHandler(health, path);
    return [`/${path}`, `/${path}/:check`].flatMap((url) =>
      (['GET', 'HEAD'] as const).map(
        (method): Route => ({ method, path: url, audience: 'public', attributes: plainAttributes('GET', `/${path}`), handler }),
      ),
    );
  });
}

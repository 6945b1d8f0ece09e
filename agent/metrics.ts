/**
 * What the agent tells Prometheus, under node_exporter's suffixes and labels where that has the same thing, so that dashboards carry
 * over. Only units that are assigned here are told of: label sets stay bounded.
 */
import { createServer, type Server } from 'node:http';
import { isIP } from 'node:net';
import { latencyBuckets, type Metrics } from '../runtime/metrics.js';
import type { CgroupUsage } from './cgroup.js';
import type { Observation } from './observe.js';
import type { Systemd } from './systemd.js';
import type { UnitCgroups } from './unit-cgroups.js';

export interface AgentMetricsOptions {
  readonly metrics: Metrics;
  readonly systemd: Systemd;
  /** Machine id and host name: what joins these series with the servers'. */
  readonly machine: string;
  readonly hostname: string;
  /** Assigned units as they were last seen. */
  readonly units: () => Iterable<readonly [name: string, observation: Observation, type: string]>;
  /** Wall-clock milliseconds; undefined before the first. */
  readonly lastSyncMs: () => number | undefined;
  readonly isServerConnected: () => boolean;
  /** Wall-clock milliseconds; undefined while the machine has no certificate. */
  readonly certificateNotAfterMs: () => number | undefined;
  readonly cgroups: UnitCgroups;
}

const unitStates = ['active', 'activating', 'deactivating', 'failed', 'inactive'] as const;

export class AgentMetrics {
  readonly #options: AgentMetricsOptions;
  #usage: ReadonlyMap<string, CgroupUsage> = new Map();

  constructor(options: AgentMetricsOptions) {
    this.#options = options;
    const { metrics, units, systemd, machine, hostname } = options;
    const seconds = (ms: number | undefined) => (ms === undefined ? undefined : ms / 1_000);
    const each = function* (value: (observation: Observation, name: string) => number | undefined) {
      for (const [name, observation] of units()) yield { labels: { name }, value: value(observation, name) };
    };
    metrics.observe('gauge', 'flotilla_systemd_unit_state', 'Systemd unit', ['name', 'state', 'type'], function* () {
      for (const [name, { seen }, type] of units()) {
        for (const state of unitStates) yield { labels: { name, state, type }, value: seen.active === state ? 1 : 0 };
      }
    });
    metrics.observe(
      'gauge',
      'flotilla_systemd_unit_start_time_seconds',
      'Start time of the unit since unix epoch in seconds; absent while it is not active.',
      ['name'],
      () => each(({ seen, run }) => (seen.active === 'active' || seen.active === 'reloading' ? seconds(run.activeSinceMs) : undefined)),
    );
    metrics.observe('counter', 'flotilla_systemd_service_restart_total', 'How often Restart= has restarted the service.', ['name'], () =>
      each(({ service }) => service?.restarts),
    );
    metrics.observe('counter', 'flotilla_unit_cpu_seconds_total', "CPU time of the unit's cgroup.", ['name'], () =>
      each((_, name) => this.#usage.get(name)?.cpuSeconds),
    );
    metrics.observe('gauge', 'flotilla_unit_memory_current_bytes', "Memory of the unit's cgroup.", ['name'], () =>
      each((_, name) => this.#usage.get(name)?.memoryBytes),
    );
    const one = (name: string, help: string, value: () => number | undefined) =>
      metrics.observe('gauge', name, help, [], () => [{ labels: {}, value: value() }]);
    metrics
      .gauge('flotilla_agent_info', 'Always 1; the labels say which machine this is.', ['machine', 'hostname'])
      .set({ machine, hostname }, 1);
    one('flotilla_agent_last_sync_timestamp_seconds', 'When a server last confirmed that this agent is in step.', () =>
      seconds(options.lastSyncMs()),
    );
    one('flotilla_dbus_connected', 'Whether systemd can be reached.', () => (systemd.isConnected ? 1 : 0));
    const losses = metrics.counter('flotilla_dbus_disconnects_total', 'Times the connection to systemd was lost.');
    losses.inc({}, 0);
    systemd.listen({ disconnected: () => losses.inc({}) });
    one('flotilla_agent_server_connected', 'Whether a stream to a server is open.', () => (options.isServerConnected() ? 1 : 0));
    one('flotilla_agent_certificate_expiration_timestamp_seconds', "When the machine's certificate ends.", () =>
      seconds(options.certificateNotAfterMs()),
    );
  }

  /** The exposition text. Reads the cgroups first: scraping is what they are read for, so nobody else pays for it. */
  async render(): Promise<string> {
    this.#usage = await this.#options.cgroups.read(this.#options.units());
    return this.#options.metrics.render();
  }
}

/** What calls to systemd are counted and timed by. */
export function dbusMetrics(metrics: Metrics): (method: string, result: 'ok' | 'error' | 'no_answer', ms: number) => void {
  const calls = metrics.counter('flotilla_dbus_calls_total', 'Calls to systemd, by how they ended.', ['method', 'result']);
  // Without the method: a histogram for each would be hundreds of series on each of thousands of machines.
  const durations = metrics.histogram('flotilla_dbus_call_duration_seconds', 'How long calls to systemd took.', latencyBuckets);
  return (method, result, ms) => {
    calls.inc({ method, result });
    durations.observe({}, ms / 1_000);
  };
}

/** `host:port`; only loopback, because it is served without TLS and without asking who asks (invariant 12). */
export function parseListen(listen: string): { host: string; port: number } {
  const [, host = '', port = ''] = /^\[?([^\]]*)\]?:(\d{1,5})$/.exec(listen) ?? [];
  const isLoopback = host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  if (port === '' || Number(port) > 65_535) throw new Error(`${listen}: expected host:port, as in 127.0.0.1:7081`);
  if (!isLoopback) throw new Error(`${listen}: metrics are served without TLS, so only on loopback, as in 127.0.0.1:${port}`);
  return { host, port: Number(port) };
}

export interface HttpHandlers {
  readonly contentType: string;
  metrics(): Promise<string>;
  /** Undefined when the agent is well, else what is wrong. */
  problem(): string | undefined;
}

/** `/metrics` and `/healthz`. Resolves when it listens. */
export function serveMetrics(listen: string, handlers: HttpHandlers): Promise<Server> {
  const { host, port } = parseListen(listen);
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, contentType = 'text/plain; charset=utf-8') => {
      response.writeHead(status, { 'content-type': contentType });
      response.end(text);
    };
    const path = request.url?.split('?')[0];
    if (request.method !== 'GET' && request.method !== 'HEAD') answer(405, 'only GET\n');
    else if (path === '/healthz') {
      const problem = handlers.problem();
      answer(problem === undefined ? 200 : 503, `${problem ?? 'ok'}\n`);
    } else if (path === '/metrics') {
      handlers.metrics().then(
        (text) => answer(200, text, handlers.contentType),
        (error: Error) => answer(500, `${error.message}\n`),
      );
    } else answer(404, 'there are /metrics and /healthz\n');
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve(server);
    });
  });
}

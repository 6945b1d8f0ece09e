/** `flotilla agent`: settings in, an agent that runs until it is told to end. */
import { readFileSync } from 'node:fs';
import { runAgent } from '../../agent/agent.js';
import { JoinRefused } from '../../agent/join.js';
import { systemClock } from '../../runtime/clock.js';
import { stopSignal } from '../../runtime/lifecycle.js';
import { createLogger } from '../../runtime/log.js';
import { createMetrics } from '../../runtime/metrics.js';
import { exitCode, usageError } from '../exit.js';
import { version } from '../version.js';
import { AgentSettings, readSettings } from './settings.js';

interface AgentFlags {
  readonly config: string;
}

const defaultConfig = '/etc/flotilla/agent.yaml';

/** Exit code of the role. */
export async function agentRole(flags: AgentFlags & Readonly<Record<string, unknown>>): Promise<number> {
  const settings = readSettings(AgentSettings, flags, flags.config, flags.config !== defaultConfig);
  const log = createLogger({ component: 'agent', level: settings.logLevel });
  const token = settings.token ?? readToken(settings.tokenFile);
  const bus = settings.bus ?? (settings.user ? sessionBus() : undefined);

  const end = new AbortController();
  const { received, forget } = stopSignal();
  received.then((signal) => end.abort(new Error(signal)));
  try {
    await runAgent({
      servers: settings.server,
      ...(token === undefined ? {} : { token }),
      metadata: settings.metadata,
      ...(bus === undefined ? {} : { bus }),
      metricsListen: settings.metrics,
      stateDir: settings.stateDir,
      version,
      log,
      metrics: createMetrics({ component: 'agent', version, process: 'quiet' }),
      clock: systemClock,
      random: Math.random,
      signal: end.signal,
    });
    return exitCode.ok;
  } catch (error) {
    if (!(error instanceof JoinRefused)) throw error;
    log.error('the machine cannot join', { why: error.message });
    return exitCode.failed;
  } finally {
    forget();
  }
}

function readToken(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw usageError(`FLOTILLA_TOKEN_FILE ${file}: ${(error as Error).message}`);
  }
}

/** Where `systemd --user` listens. */
function sessionBus(): string {
  const { DBUS_SESSION_BUS_ADDRESS: address, XDG_RUNTIME_DIR: runtime } = process.env;
  if (address) return address;
  if (runtime) return `unix:path=${runtime}/bus`;
  throw usageError('--user: there is no session bus here (neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set)');
}

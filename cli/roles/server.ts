/** `flotilla server`: puts the API server and the controllers together over one store, one cache and one door, and keeps them running. */
import { readFileSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { openClusterCache } from '../../api/objects/cache.js';
import { openObjectDoor } from '../../api/objects/door.js';
import { openEventRecorder } from '../../api/objects/events.js';
import { parseKeyFile, SecretBox } from '../../api/objects/secret-box.js';
import { openSecrets } from '../../api/objects/secrets.js';
import { keysUnder } from '../../api/resources/keys.js';
import { kinds } from '../../api/resources/registry.js';
import { openAgentGateway } from '../../api/server/agents/gateway.js';
import { createApp } from '../../api/server/app.js';
import { authorize } from '../../api/server/authorize.js';
import { ConnectionIdentities } from '../../api/server/connection-identity.js';
import { gitHookRoute } from '../../api/server/git/hooks.js';
import { gitPreviewRoute } from '../../api/server/git/preview.js';
import { isLoopback, type Listeners, type ListenSpec, openListeners, parseListen, refusal } from '../../api/server/listeners.js';
import { openServerRegistry } from '../../api/server/servers.js';
import { inheritedSockets } from '../../api/server/socket-activation.js';
import { openPki } from '../../api/server/trust/ca.js';
import { StartRefused } from '../../api/server/trust/cluster-meta.js';
import { readPrivateFile } from '../../api/server/trust/key-file.js';
import { trustRoutes } from '../../api/server/trust/routes.js';
import { openTokens } from '../../api/server/trust/tokens.js';
import { previewSync } from '../../controllers/gitsync/preview.js';
import { runControllers } from '../../controllers/manager.js';
import { systemClock } from '../../runtime/clock.js';
import { openRepositories } from '../../runtime/git/repositories.js';
import { Lifecycle, StartFailed, stopSignal } from '../../runtime/lifecycle.js';
import { createLogger, type Logger } from '../../runtime/log.js';
import { createMetrics } from '../../runtime/metrics.js';
import { openEtcdStore } from '../../runtime/store/etcd-store.js';
import { measuredStore } from '../../runtime/store/measured-store.js';
import { exitCode, usageError } from '../exit.js';
import { version } from '../version.js';
import { readSettings, ServerSettings } from './settings.js';

const defaultListen = 'unix:///run/flotilla/flotilla.sock';
const defaultConfig = '/etc/flotilla/server.yaml';

/** Exit code of the role. */
export async function serverRole(flags: { readonly config: string } & Readonly<Record<string, unknown>>): Promise<number> {
  const settings = readSettings(ServerSettings, flags, flags.config, flags.config !== defaultConfig);
  const log = createLogger({ component: 'server', level: settings.logLevel });
  const lifecycle = new Lifecycle({ log });
  const { received, forget } = stopSignal();
  try {
    addParts(lifecycle, settings, log, await readSecretBox(settings.secretKeyFile));
    const stopped = received.then((signal) => lifecycle.stop(signal));
    await lifecycle.start();
    log.info('ready', { etcd: settings.etcd, version });
    return (await stopped) ? exitCode.ok : exitCode.failed;
  } catch (error) {
    // What the person who started it did wrong is a sentence; anything else is a fault of ours and keeps its stack.
    const cause = error instanceof StartFailed ? error.cause : error;
    if (!(cause instanceof StartRefused)) throw error;
    throw usageError(cause.message);
  } finally {
    forget();
  }
}

function addParts(lifecycle: Lifecycle, settings: ServerSettings, log: Logger, secretBox: SecretBox | undefined): void {
  const clock = systemClock;
  const keys = keysUnder();
  const inherited = inheritedSockets(process.env, process.pid);
  const listen = settings.listen ?? (inherited.length > 0 ? [] : [defaultListen]);
  const specs = [...inherited, ...listen.map(parseListen)];
  // Said before anything is opened: what is wrong with the command line is no reason to go to etcd.
  const against = refusal(specs, { insecureLoopback: settings.insecureLoopback, tls: true });
  if (against !== undefined) throw new StartRefused(against);
  const name = serverName();
  const metrics = createMetrics({ component: 'server', version });
  const identities = new ConnectionIdentities(clock);
  const credentials = etcdCredentials(settings);
  const etcd = openEtcdStore({
    endpoints: settings.etcd,
    clock,
    log: log.child({ part: 'store' }),
    ...(credentials ? { credentials } : {}),
  });
  const store = measuredStore(etcd, metrics, clock);
  const { cache, hub, stop: stopCache } = openClusterCache({ store, keys, clock, log: log.child({ part: 'cache' }), metrics });
  const door = openObjectDoor({ kinds, cache, store, keys, clock, log: log.child({ part: 'door' }), secretBox });

  const repositories = openRepositories({
    directory: settings.gitDir,
    fileRoots: settings.gitFileRoot,
    clock,
    log: log.child({ part: 'git' }),
  });
  const git = { repositories, readSecret: openSecrets(cache, secretBox) };

  lifecycle.add('store', () => () => store.close());
  lifecycle.add('cache', async (signal) => {
    await cache.untilSynced(signal);
    return stopCache;
  });
  lifecycle.add('api', async () => {
    // Closed last opened first, and also when a later one cannot be opened: a port that is taken must not leave a program that hangs.
    const opened: (() => Promise<void> | void)[] = [];
    const closeAll = async () => {
      for (let close = opened.pop(); close; close = opened.pop()) await close();
    };
    try {
      const names = certificateNames(specs, settings.advertise);
      const pki = await openPki({ dir: settings.pkiDir, store, keys, names, clock, log, metrics });
      opened.push(() => pki.close());
      const tokens = openTokens({ store, keys, clock, caSha256: pki.caSha256 });
      const self = { name, urls: [...(settings.advertise ?? specs.flatMap(agentUrl))], version };
      const registry = openServerRegistry({ store, keys, self, clock, random: Math.random, log, metrics });
      opened.push(() => registry.close());
      const recorder = openEventRecorder({ store, cache, keys, clock, component: 'server', host: name, log });
      opened.push(() => recorder.stop());
      const shared = { store, cache, door, clock, log, metrics };
      const closing = new AbortController();
      const gateway = openAgentGateway({ ...shared, pki, tokens, registry, identities, authorize, events: recorder, serverName: name });
      const app = await createApp({
        ...shared,
        hub,
        kinds,
        identityOf: identities.of,
        authorize,
        outputs: gateway.outputs,
        usage: gateway.usage,
        server: { name, version },
        servers: () => registry.all(),
        clusterUid: pki.clusterUid,
        extraPlugins: [
          gateway.routes,
          (routes) => routes.add(...trustRoutes({ tokens, pki, urls: () => registry.urls(), log })),
          (routes) =>
            routes.add(
              gitHookRoute({ ...shared, readSecret: git.readSecret }),
              gitPreviewRoute({
                preview: (gitSync, signal) => previewSync(gitSync, { ...git, cache, door }, signal),
                closing: closing.signal,
              }),
            ),
        ],
      });
      let listeners: Listeners | undefined;
      opened.push(() => listeners?.close());
      opened.push(() => app.fastify.close());
      opened.push(() => closing.abort());
      // Agents are sent elsewhere first: while they move, what they say is still heard.
      opened.push(() => gateway.close());
      listeners = await openListeners(specs, {
        handler: app.fastify.routing,
        onUpgrade: gateway.onUpgrade,
        identities,
        pki,
        insecureLoopback: settings.insecureLoopback,
        log,
      });
      return closeAll;
    } catch (error) {
      await closeAll();
      throw error;
    }
  });
  lifecycle.add('controllers', () => {
    const stop = new AbortController();
    const recorder = openEventRecorder({ store, cache, keys, clock, component: 'controllers', host: name, log });
    const running = runControllers({
      store,
      cache,
      door,
      clock,
      log: log.child({ part: 'controllers' }),
      metrics,
      events: recorder,
      git,
      identity: { server: name },
      signal: stop.signal,
    });
    // A fault in the controllers is one of the program: this server ends, and whoever supervises it starts it anew.
    running.catch((error: unknown) => {
      log.error('the controllers failed', { error });
      process.exitCode = exitCode.failed;
      process.kill(process.pid, 'SIGTERM');
    });
    return async () => {
      stop.abort(new Error('this server stops'));
      // A fault was logged above, when it happened.
      await running.catch(() => undefined);
      await recorder.stop();
    };
  });
}

/** The https URLs of a listener as agents dial it; a wildcard is reached by this host's own addresses. */
function agentUrl(spec: ListenSpec): string[] {
  if (spec.kind !== 'https') return [];
  const hosts = isWildcard(spec.host) ? ownAddresses().filter((address) => !isLoopback(address)) : [spec.host];
  return hosts.map((host) => `https://${host.includes(':') ? `[${host}]` : host}:${spec.port}`);
}

/** Throws StartRefused for a file that others can read, or that holds no keys. */
async function readSecretBox(file: string | undefined): Promise<SecretBox | undefined> {
  if (file === undefined) return undefined;
  const refuse = (why: string) => new StartRefused(`--secret-key-file ${file}: ${why}`);
  const text = await readPrivateFile(file).catch((error: Error) => {
    throw refuse(error.message);
  });
  if (text === undefined) throw refuse('no such file');
  try {
    return new SecretBox(parseKeyFile(text));
  } catch (error) {
    throw refuse((error as Error).message);
  }
}

/** Names this process among all servers: in presence, in the leader's key, in events. */
const serverName = () => `${hostname()}-${process.pid}`;

/** Every name under which this server may be dialled, for its certificate. */
function certificateNames(specs: readonly ListenSpec[], advertise: readonly string[] = []): string[] {
  const listened = specs.flatMap((spec) => (spec.kind === 'unix' || isWildcard(spec.host) ? [] : [spec.host]));
  const advertised = advertise.map((url) => new URL(url).hostname.replace(/^\[|\]$/g, ''));
  return [...new Set([hostname(), ...ownAddresses(), ...listened, ...advertised])];
}

/** Link-local IPv6 addresses mean nothing without an interface, so they are left out. */
const ownAddresses = (): string[] =>
  Object.values(networkInterfaces())
    .flatMap((infos = []) => infos.map(({ address }) => address))
    .filter((address) => !/^fe80:/i.test(address));

const isWildcard = (host: string) => host === '0.0.0.0' || host === '::';

function etcdCredentials({ etcdCaFile, etcdCertFile, etcdKeyFile }: ServerSettings) {
  if (!etcdCaFile) return undefined;
  return {
    ca: readFileSync(etcdCaFile),
    ...(etcdCertFile && etcdKeyFile ? { cert: readFileSync(etcdCertFile), key: readFileSync(etcdKeyFile) } : {}),
  };
}

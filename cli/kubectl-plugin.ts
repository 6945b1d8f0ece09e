/**
 * `kubectl flotilla VERB …`: this program under the name `kubectl-flotilla`, with the server and the certificates that kubectl would use.
 * What a kubeconfig says is kubectl's business: it is asked, files, contexts and merging included.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { usageError } from './exit.js';

/** kubectl's flags that choose a connection, and take a value. */
const choosing = ['--kubeconfig', '--context', '--cluster', '--user'];
/** Known to kubectl's users, and without meaning here: all kinds belong to the cluster. */
const ignored = ['--namespace', '-n'];
const serverFlags = ['--server', '-s'];

export interface PluginWords {
  /** For `kubectl config view`. */
  readonly kubectl: readonly string[];
  readonly server?: string;
  /** For this program. */
  readonly words: readonly string[];
}

/** Tells kubectl's flags from the words of this program, in whichever order they come; behind `--` nothing is a flag. */
export function splitWords(argv: readonly string[]): PluginWords {
  const kubectl: string[] = [];
  const words: string[] = [];
  let server: string | undefined;
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    if (word === '--') {
      words.push(...argv.slice(at));
      break;
    }
    const [flag = '', inline] = word.startsWith('--') && word.includes('=') ? splitAt(word, word.indexOf('=')) : [word, undefined];
    if (![...choosing, ...ignored, ...serverFlags].includes(flag)) {
      words.push(word);
      continue;
    }
    const value = inline ?? argv[++at];
    if (value === undefined) throw usageError(`${flag}: expected a value`);
    // kubectl's namespace, which means nothing here, and a number of lines to `logs`: nobody calls a namespace by a number.
    if (flag === '-n' && /^\d+$/.test(value)) words.push(flag, value);
    else if (choosing.includes(flag)) kubectl.push(`${flag}=${value}`);
    else if (serverFlags.includes(flag)) server = value;
  }
  return { kubectl, words, ...(server !== undefined && { server }) };
}

const splitAt = (text: string, index: number): [string, string] => [text.slice(0, index), text.slice(index + 1)];

/** As `kubectl config view --minify --flatten --raw -o json` prints it, as far as it is read here. */
export interface KubeconfigView {
  readonly clusters?: readonly { readonly cluster?: Readonly<Record<string, unknown>> }[] | null;
  readonly users?: readonly { readonly user?: Readonly<Record<string, unknown>> }[] | null;
}

export interface Connection {
  readonly endpoint: string;
  /** PEM texts. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** @throws CliError when there is no server, or the kubeconfig wants what this program cannot do */
export function connectionOf(view: KubeconfigView, server: string | undefined): Connection {
  const cluster = view.clusters?.[0]?.cluster ?? {};
  const user = view.users?.[0]?.user ?? {};
  const endpoint = server ?? cluster.server;
  if (typeof endpoint !== 'string' || endpoint === '') {
    throw usageError('the kubeconfig names no server: choose a context with --context, or name a server with --server');
  }
  if (cluster['insecure-skip-tls-verify'] === true) {
    throw usageError("the kubeconfig says insecure-skip-tls-verify: expected the cluster's CA instead, as flotilla kubeconfig writes it");
  }
  const isCertified = user['client-certificate-data'] !== undefined;
  const unknown = isCertified
    ? undefined
    : ['token', 'tokenFile', 'username', 'exec', 'auth-provider'].find((way) => user[way] !== undefined);
  if (unknown !== undefined) {
    throw usageError(`the kubeconfig says who you are by ${unknown}: expected a client certificate, as flotilla kubeconfig writes it`);
  }
  const pem = (value: unknown): string | undefined => (typeof value === 'string' ? Buffer.from(value, 'base64').toString() : undefined);
  const ca = pem(cluster['certificate-authority-data']);
  const cert = pem(user['client-certificate-data']);
  const key = pem(user['client-key-data']);
  return { endpoint, ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) };
}

/** Runs the words of a `kubectl flotilla` command line; resolves with its exit code. */
export async function runPlugin(argv: readonly string[], runProgram: (argv: readonly string[]) => Promise<number>): Promise<number> {
  const { kubectl, server, words } = splitWords(argv);
  const connection = connectionOf(readKubeconfig(kubectl), server);
  // Keys go by file, readable by nobody else, and never by argument.
  const directory = mkdtempSync(join(tmpdir(), 'kubectl-flotilla-'));
  const forget = () => rmSync(directory, { recursive: true, force: true });
  process.once('exit', forget);
  onDeath(forget);
  const flags = (['ca', 'cert', 'key'] as const).flatMap((part) => {
    const pem = connection[part];
    if (pem === undefined) return [];
    const file = join(directory, `${part}.pem`);
    writeFileSync(file, pem, { mode: 0o600 });
    return [`--${part}-file=${file}`];
  });
  return await runProgram([`--endpoint=${connection.endpoint}`, ...flags, ...words]);
}

/** A signal that nobody else takes ends the process without an exit event: then `last` runs before it does. */
function onDeath(last: () => void): void {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const take = () => {
      // A verb that takes it ends in its own time, and by itself.
      if (process.listenerCount(name) > 1) return;
      last();
      process.off(name, take);
      process.kill(process.pid, name);
    };
    process.on(name, take);
  }
}

function readKubeconfig(flags: readonly string[]): KubeconfigView {
  const { status, stdout, stderr, error } = spawnSync(
    'kubectl',
    ['config', 'view', '--minify', '--flatten', '--raw', '--output=json', ...flags],
    { encoding: 'utf8' },
  );
  if (error) throw usageError(`kubectl cannot be asked for its configuration: ${error.message}`);
  // Without any context there is nothing to view: --server may still say all that is needed.
  if (status !== 0) {
    if (flags.length > 0) throw usageError(`kubectl config view: ${stderr.trim()}`);
    return {};
  }
  return JSON.parse(stdout) as KubeconfigView;
}

/** Verbs of the cluster's administrator: `token create`, `kubeconfig`, `version`. */
import type { Context } from '../context.js';
import { CliError, exitCode } from '../exit.js';
import { complain, print, printLine, say } from '../output.js';
import { version as ownVersion } from '../version.js';

export async function tokenCreate(context: Context, options: { labels?: string; output?: string }): Promise<number> {
  const body = options.labels === undefined ? {} : { labels: options.labels.split(',').map((key) => key.trim()) };
  const answer = await context.client.json<{ token: string; expiresAt: string }>('/apis/flotilla.dev/v1/tokens', { method: 'POST', body });
  if (options.output === 'json') printLine(JSON.stringify(answer));
  else {
    printLine(answer.token);
    if (process.stdout.isTTY)
      say(`One machine can join with it until ${answer.expiresAt}: flotilla agent --server https://SERVER:7443 --token TOKEN`);
  }
  return exitCode.ok;
}

export async function kubeconfig(context: Context, options: { server?: string; name: string }): Promise<number> {
  const body = { name: options.name, ...(options.server === undefined ? {} : { server: options.server }) };
  const reply = await context.client.fetch('/apis/flotilla.dev/v1/kubeconfigs', { method: 'POST', body });
  if (reply.status >= 400) throw context.client.refusal(reply);
  const { kubeconfig: text } = JSON.parse(reply.text) as { kubeconfig: string };
  print(text);
  if (process.stdout.isTTY) say('It holds a private key: keep it in a file of mode 0600.');
  return exitCode.ok;
}

interface ServerVersion {
  /** The Kubernetes version whose API it speaks, with our own behind it: what kubectl shows. */
  readonly gitVersion: string;
  readonly flotillaVersion: string;
}

export async function version(context: Context, options: { output?: string; client?: boolean }): Promise<number> {
  const client = { version: ownVersion, node: process.version };
  let server: ServerVersion | undefined;
  let problem: CliError | undefined;
  if (!options.client) {
    try {
      server = await context.client.json<ServerVersion>('/version');
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      problem = error;
    }
  }
  if (options.output === 'json') printLine(JSON.stringify({ client, ...(server ? { server } : {}) }));
  else {
    printLine(`client ${client.version} (Node ${client.node})`);
    if (server) printLine(`server ${server.flotillaVersion} (Kubernetes API ${server.gitVersion.replace(/\+.*$/, '')})`);
  }
  if (problem) complain(problem);
  return problem ? exitCode.failed : exitCode.ok;
}

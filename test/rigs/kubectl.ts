/** The real kubectl, in every version that lies on this computer. */
import assert from 'node:assert/strict';
import { access, constants, readdir, realpath } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { type Finished, run } from '../../cli/roles/dev/run.js';

export interface KubectlVersion {
  readonly path: string;
  /** As it says itself: `v1.33.1`. */
  readonly version: string;
  /** 33 */
  readonly minor: number;
}

/** The kubectl on PATH, and those named `kubectl.1.NN` beside the file that it leads to, the newest first. */
export async function findKubectls(env: NodeJS.ProcessEnv): Promise<[KubectlVersion, ...KubectlVersion[]]> {
  const onPath = await firstOnPath('kubectl');
  const directory = dirname(await realpath(onPath));
  const beside = (await readdir(directory)).filter((name) => /^kubectl\.\d+\.\d+$/.test(name)).map((name) => join(directory, name));
  const found = await Promise.all([onPath, ...beside].map((path) => versionOf(path, env)));
  const [newest, ...others] = found.sort((a, b) => b.minor - a.minor || a.path.localeCompare(b.path));
  assert.ok(newest);
  return [newest, ...others];
}

async function firstOnPath(name: string): Promise<string> {
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(directory, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  throw new Error(`there is no ${name} on PATH: npm test installs it`);
}

async function versionOf(path: string, env: NodeJS.ProcessEnv): Promise<KubectlVersion> {
  const { stdout } = await run(path, ['version', '--client', '-o', 'json'], { env });
  const { clientVersion } = JSON.parse(stdout) as { clientVersion: { gitVersion: string; minor: string } };
  return { path, version: clientVersion.gitVersion, minor: Number.parseInt(clientVersion.minor, 10) };
}

/** Several manifests as one YAML stream. It must not begin with a brace: kubectl would then read the separators as JSON, too. */
export const documents = (...manifests: readonly string[]): string => `---\n${manifests.join('\n---\n')}`;

/** One version of kubectl against one server. Objects of different ones have different names, so that they never meet. */
export class Kubectl {
  constructor(
    readonly binary: KubectlVersion,
    /** Begins the name of everything that this one makes; also the value of its label `session`. */
    readonly prefix: string,
    private readonly flags: readonly string[],
    private readonly env: NodeJS.ProcessEnv,
  ) {}

  /** What would be run, for those who run it in their own way. */
  commandLine(args: readonly string[]) {
    return { command: this.binary.path, words: [...this.flags, ...args], env: this.env };
  }

  run(args: readonly string[], options: { input?: string; timeoutMs?: number; env?: NodeJS.ProcessEnv } = {}): Promise<Finished> {
    return run(this.binary.path, [...this.flags, ...args], { ...options, env: { ...this.env, ...options.env } });
  }

  /** `kubectl flotilla WORDS`, with the plugin found in this directory. kubectl wants a plugin's name before any flag. */
  plugin(directory: string, words: readonly string[]): Promise<Finished> {
    const env = { ...this.env, PATH: `${directory}:${this.env.PATH}` };
    return run(this.binary.path, ['flotilla', ...words, ...this.flags], { env });
  }

  /** What it printed; fails when it did not end with 0. */
  async must(args: readonly string[], input?: string): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, input === undefined ? {} : { input });
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${stderr || stdout}`);
    return stdout;
  }

  /** It has to end with 1 and say what matches. */
  async refused(args: readonly string[], message: RegExp, input?: string): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, input === undefined ? {} : { input });
    assert.equal(code, 1, `kubectl ${args.join(' ')}: ${stdout}${stderr}`);
    assert.match(stderr, message);
    return stderr;
  }

  /** A name of its own: `k133-web.service`. */
  name = (stem: string, type = 'service'): string => `${this.prefix}-${stem}.${type}`;

  /** A manifest of a unit that sleeps, as JSON. */
  unit(name: string, { seconds = 'infinity', labels = {}, spec = {} }: UnitOptions = {}): string {
    return JSON.stringify(this.object(name, { seconds, labels, spec }));
  }

  object(name: string, { seconds = 'infinity', labels = {}, spec = {} }: UnitOptions = {}) {
    return {
      apiVersion: 'flotilla.dev/v1',
      kind: 'Unit',
      metadata: { name, labels: { session: this.prefix, ...labels } },
      spec: { desiredState: 'launched', content: `[Service]\nExecStart=/bin/sleep ${seconds}\n`, ...spec },
    };
  }
}

export interface UnitOptions {
  readonly seconds?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
}

/** Something that users do with kubectl, and what has to come of it. */
export interface Step {
  readonly name: string;
  /** Minor number of the first version that has these commands; absent: every version that we meet. */
  readonly since?: number;
  readonly run: (kubectl: Kubectl) => Promise<void>;
}

/** `flotilla dev` as a newcomer runs it: a cluster in the foreground, and after Ctrl-C nothing of it is left. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseManifests } from '../../api/resources/manifests.js';
import { ask } from '../../cli/roles/dev/ask.js';
import { run } from '../../cli/roles/dev/run.js';
import { program, until } from '../rigs/cluster.js';

const manifests = join(dirname(dirname(program)), 'manifests/quickstart');
const examples = readdirSync(manifests).flatMap((file) =>
  parseManifests(file, readFileSync(join(manifests, file), 'utf8')).documents.map(({ object }) => object.metadata.name),
);
const parent = '/run/flotilla-dev';

/** One `flotilla dev`, and what it has said so far. */
class Dev {
  said = '';
  readonly #child: ChildProcess;

  constructor(...args: string[]) {
    this.#child = spawn(process.execPath, [program, 'dev', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on('data', (chunk) => (this.said += chunk));
  }

  /** The cluster's id: its directory names this process as the owner. */
  id = () => until('the directory', async () => clusters().find(({ owner }) => owner === this.#child.pid)?.id);
  isUp = () => this.untilSays(/Ctrl-C takes everything down/);
  untilSays = (words: RegExp) =>
    until(`${words}`, async () => {
      assert.equal(this.#child.exitCode, null, this.said);
      return words.test(this.said);
    });

  /** Ctrl-C in a pipeline ends the readers too, before anything can be said to them. */
  closeReaders(): void {
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.destroy();
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill(signal);
      await once(this.#child, 'exit');
    }
    return this.#child.exitCode;
  }
}

const clusters = () =>
  (existsSync(parent) ? readdirSync(parent) : []).map((id) => {
    const file = join(parent, id, 'owner');
    return { id, owner: existsSync(file) ? Number(readFileSync(file, 'utf8').split(' ')[0]) : undefined };
  });

/** Everything on this computer that bears the cluster's name. */
async function traces(id: string): Promise<string[]> {
  const commands = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => ({ pid, about: ['cmdline', 'cgroup'].map((file) => readIfThere(`/proc/${pid}/${file}`)).join('\n') }))
    .filter(({ about }) => about.includes(`${parent}/${id}/`) || about.includes(`flotilla-fl${id}-`))
    .map(({ pid, about }) => `process ${pid}: ${about.replaceAll('\0', ' ').slice(0, 100)}`);
  const mounts = readIfThere('/proc/self/mounts')
    .split('\n')
    .filter((line) => line.includes(`${parent}/${id}`));
  const links = (await run('ip', ['-br', 'link'])).stdout
    .split('\n')
    .filter((line) => line.includes(`flo-${id}`) || line.includes(`fl${id}-`));
  const cgroups = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified', '/sys/fs/cgroup/systemd']
    .filter((root) => existsSync(root))
    .flatMap((root) => readdirSync(root).filter((name) => name.includes(`fl${id}-`)));
  const files = existsSync(join(parent, id)) ? [join(parent, id)] : [];
  return [...commands, ...mounts, ...links, ...cgroups, ...files];
}

/** A process may end while we look at it. */
function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return '';
  }
}

describe('flotilla dev', () => {
  const started: Dev[] = [];
  const dev = (...args: string[]) => {
    const one = new Dev(...args);
    started.push(one);
    return one;
  };
  after(async () => {
    for (const one of started) await one.end('SIGKILL');
  });
  const socket = '/run/flotilla/flotilla.sock';
  /** Another cluster on this computer may be at the default socket; a file that nobody listens on is nobody's. */
  let isTaken: boolean;
  before(async () => {
    isTaken = await ask(socket, '/livez', 1_000).then(
      () => true,
      () => false,
    );
  });

  test('up, its units shown, Ctrl-C, nothing left; twice in a row', async () => {
    for (const round of [1, 2]) {
      const cluster = dev('--machines', String(3 - round), '--apply', manifests);
      const id = await cluster.id();
      await cluster.isUp();
      for (const name of examples) assert.match(cluster.said, new RegExp(`unit/${name} created`), 'every example is applied');
      assert.match(cluster.said, /hello\.service +launched +active +running/, `round ${round}`);
      assert.match(cluster.said, /In a second terminal:\n(?: {2}export FLOTILLA_ENDPOINT=\S+\n)?(?: {2}\S.* {3}\S.*\n){5}/);
      assert.notDeepEqual(await traces(id), [], 'else this test could not see what is left');
      assert.equal(await cluster.end('SIGINT'), 0, cluster.said);
      assert.deepEqual(await traces(id), [], `round ${round}`);
      assert.equal(existsSync(socket), isTaken, 'the socket');
    }
  });

  test('Ctrl-C while it starts: it takes down what there is', async () => {
    for (const moment of [/starting etcd/, /starting the server/, /booting a machine/, /waiting for the machine/]) {
      const cluster = dev();
      const id = await cluster.id();
      await cluster.untilSays(moment);
      assert.equal(await cluster.end('SIGINT'), 0, cluster.said);
      assert.deepEqual(await traces(id), [], `at ${moment}`);
    }
  });

  test('Ctrl-C in a pipeline, whose reader is gone first: nothing is left either', async () => {
    const cluster = dev();
    const id = await cluster.id();
    await cluster.isUp();
    cluster.closeReaders();
    assert.equal(await cluster.end('SIGINT'), 0);
    assert.deepEqual(await traces(id), []);
  });

  test('two at once, each on its own socket and port; the next run removes what a killed one left, and nothing of the other', async () => {
    const first = dev();
    const firstId = await first.id();
    await first.isUp();
    const second = dev();
    const secondId = await second.id();
    await second.isUp();
    assert.match(second.said, /a server answers on \S+ already/);
    assert.match(second.said, /port 7080 is taken: this cluster uses \d+/);

    await first.end('SIGKILL');
    const third = dev();
    await third.isUp();
    assert.match(third.said, new RegExp(`removed what an earlier run \\(${firstId}\\) had left behind`));
    assert.deepEqual(await traces(firstId), []);
    const [, setting = ''] = /export FLOTILLA_ENDPOINT=(\S+)/.exec(second.said) ?? [];
    const { stdout } = await run(process.execPath, [program, '--endpoint', setting, 'get', 'machines']);
    assert.match(stdout, /m1 .* Ready /, 'the second is as well as before');
    for (const one of [second, third]) assert.equal(await one.end('SIGINT'), 0, one.said);
    assert.deepEqual(await traces(secondId), []);
  });

  test('what is missing is one sentence', async () => {
    const { code, stdout, stderr } = await run(process.execPath, [program, 'dev'], { env: { ...process.env, PATH: '/nowhere' } });
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
    assert.match(stderr, /^flotilla dev: these programs are missing: etcd \(Debian package etcd-server\), .*\n$/);
  });
});

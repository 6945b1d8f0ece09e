/** A real OpenSSH server with keys of its own, and an ssh_config for its clients, which they find as people find theirs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { until } from '../../cli/roles/dev/managed-process.js';
import { freePort } from '../../cli/roles/dev/ports.js';
import { must } from '../../cli/roles/dev/run.js';

const sshdProgram = '/usr/sbin/sshd';

/** Keys of a server and of the one user that may log in, and the configurations of both sides, in one directory. */
export class SshKeys {
  private constructor(readonly directory: string) {}

  static async create(directory: string): Promise<SshKeys> {
    const keys = new SshKeys(directory);
    for (const name of ['host', 'other-host', 'user']) {
      await must('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', keys.path(name)]);
    }
    await mkdir(keys.path('bin'));
    // ssh looks for its configuration in the home that the system knows, whatever HOME says.
    await writeFile(keys.path('bin/ssh'), `#!/bin/sh\nexec /usr/bin/ssh -F ${keys.path('ssh_config')} "$@"\n`);
    await chmod(keys.path('bin/ssh'), 0o755);
    await writeFile(
      keys.path('ssh_config'),
      [
        'Host *',
        'User root',
        `IdentityFile ${keys.path('user')}`,
        'IdentitiesOnly yes',
        'IdentityAgent none',
        'GlobalKnownHostsFile /dev/null',
        `UserKnownHostsFile ${keys.path('known_hosts')}`,
        '',
      ].join('\n'),
    );
    return keys;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** For a process that runs `ssh`. */
  get environment(): NodeJS.ProcessEnv {
    return { ...process.env, PATH: `${this.path('bin')}${delimiter}${process.env.PATH}`, SSH_ASKPASS: '/bin/false' };
  }

  publicKey(name: 'host' | 'other-host' | 'user'): Promise<string> {
    return readFile(this.path(`${name}.pub`), 'utf8');
  }

  /** The server's key is known by these names from now on, or another one in its place. */
  async know(hosts: readonly string[], key: 'host' | 'other-host' = 'host', file = 'known_hosts'): Promise<void> {
    const [type, text] = (await this.publicKey(key)).split(' ');
    await writeFile(this.path(file), `${hosts.join(',')} ${type} ${text}\n`);
  }

  /** The text of an sshd_config whose files lie under `directory`, as sshd sees it. */
  serverConfig(listen: string, directory = this.directory): string {
    return [
      `ListenAddress ${listen}`,
      `HostKey ${join(directory, 'host')}`,
      `AuthorizedKeysFile ${join(directory, 'user.pub')}`,
      'PidFile none',
      'StrictModes no',
      'UsePAM no',
      'PermitRootLogin yes',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'AllowStreamLocalForwarding yes',
      'AllowTcpForwarding yes',
      'AcceptEnv *',
      '',
    ].join('\n');
  }
}

export class TestSshd {
  readonly #words: string[] = [];

  private constructor(
    readonly keys: SshKeys,
    readonly port: number,
    private readonly process: ChildProcess,
  ) {}

  /** On a loopback port. */
  static async start(): Promise<TestSshd> {
    const keys = await SshKeys.create(await mkdtemp(join(tmpdir(), 'flotilla-sshd-')));
    // Where sshd locks up the part of itself that faces strangers.
    await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
    // A port that was free a moment ago may be somebody else's now.
    for (let tries = 1; ; tries++) {
      const sshd = await TestSshd.#listen(keys, await freePort());
      if (await sshd.#isListening()) return sshd;
      if (tries === 3) throw new Error(`sshd does not listen: ${sshd.words}`);
    }
  }

  static async #listen(keys: SshKeys, port: number): Promise<TestSshd> {
    await writeFile(keys.path('sshd_config'), keys.serverConfig(`127.0.0.1:${port}`));
    const child = spawn(sshdProgram, ['-D', '-e', '-f', keys.path('sshd_config')], { stdio: ['ignore', 'ignore', 'pipe'] });
    const sshd = new TestSshd(keys, port, child);
    child.stderr.setEncoding('utf8').on('data', (text: string) => sshd.#words.push(text));
    return sshd;
  }

  #isListening(): Promise<boolean> {
    return until('sshd to listen, or to end', async () => {
      if (/Server listening/.test(this.words)) return { value: true };
      return this.process.exitCode !== null && { value: false };
    }).then(({ value }) => value);
  }

  /** Everything that it logged. */
  get words(): string {
    return this.#words.join('');
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** As known_hosts spells it. */
  get knownAs(): string {
    return `[127.0.0.1]:${this.port}`;
  }

  async stop(): Promise<void> {
    const ended = once(this.process, 'exit');
    if (this.process.exitCode === null && this.process.kill('SIGTERM')) await ended;
    await rm(this.keys.directory, { recursive: true, force: true });
  }
}

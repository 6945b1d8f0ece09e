/** A Git repository of a test's own, written to by the git binary and nothing of the program under test. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';

export class GitRepository {
  readonly directory: string;

  constructor(t: Pick<TestContext, 'after'>, parent?: string) {
    this.directory = mkdtempSync(join(parent ?? tmpdir(), 'flotilla-repository-'));
    t.after(() => rmSync(this.directory, { recursive: true, force: true }));
    this.git('init', '--quiet', '--initial-branch=main');
  }

  get url(): string {
    return `file://${this.directory}`;
  }

  git(...args: readonly string[]): string {
    const env = {
      PATH: process.env.PATH ?? '/usr/bin:/bin',
      HOME: this.directory,
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_AUTHOR_NAME: 'Ann',
      GIT_AUTHOR_EMAIL: 'ann@example.com',
      GIT_COMMITTER_NAME: 'Ann',
      GIT_COMMITTER_EMAIL: 'ann@example.com',
    };
    const { status, stdout, stderr } = spawnSync('git', [...args], { cwd: this.directory, env, encoding: 'utf8' });
    if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  }

  write(path: string, text: string | Buffer): this {
    const file = join(this.directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    return this;
  }

  link(path: string, target: string): this {
    const file = join(this.directory, path);
    mkdirSync(dirname(file), { recursive: true });
    symlinkSync(target, file);
    return this;
  }

  remove(path: string): this {
    rmSync(join(this.directory, path), { recursive: true, force: true });
    return this;
  }

  /** Commits the work tree as it is; returns the hash. */
  commit(message = 'a change', ...more: readonly string[]): string {
    this.git('add', '--all');
    this.git('commit', '--quiet', '--allow-empty', `--message=${message}`, ...more);
    return this.head;
  }

  get head(): string {
    return this.git('rev-parse', 'HEAD');
  }
}

/** A unit file that systemd would take. */
export const unitFile = (command = '/bin/sleep infinity'): string => `[Service]\nExecStart=${command}\n`;

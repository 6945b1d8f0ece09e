/** Repositories opened in a directory of the test's own. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type GitUrl, parseGitUrl } from '../../../api/resources/git-url.js';
import { systemClock } from '../../../runtime/clock.js';
import type { GitLimits } from '../../../runtime/git/limits.js';
import { openRepositories, type RepositoryAccess } from '../../../runtime/git/repositories.js';
import { GitError, type GitFault } from '../../../runtime/git/run.js';
import { silentLogger } from '../../../runtime/log.js';

export function directory(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'flotilla-git-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

export function open(
  t: TestContext,
  limits: Partial<GitLimits> = {},
  fileRoots?: readonly string[],
  environment: Readonly<Record<string, string>> = {},
) {
  const at = directory(t);
  return { at, repositories: openRepositories({ directory: at, fileRoots, clock: systemClock, log: silentLogger, limits, environment }) };
}

export function access(url: string, more: Partial<RepositoryAccess> = {}): RepositoryAccess {
  const parsed = parseGitUrl(url);
  assert.ok(!('problem' in parsed), JSON.stringify(parsed));
  return { url: parsed as GitUrl, timeoutMs: 60_000, ...more };
}

export async function fails(promise: Promise<unknown>, fault: GitFault, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof GitError, String((error as Error).stack));
    assert.match(error.message, message);
    assert.equal(error.fault, fault, error.message);
    return true;
  });
}

/** A GitSync's spec with everything that it leaves out. */
import { parseDuration } from '../../api/resources/duration.js';
import { type GitUrl, parseGitUrl, repositoryPath } from '../../api/resources/git-url.js';
import { type GitSyncSpec, gitSyncDefaults } from '../../api/resources/gitsync.js';

export interface SyncSettings {
  readonly url: GitUrl;
  readonly path: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly maxDeletePercent: number;
}

/** The door has validated it; whatever came past the door is a sentence all the same. */
export function settingsOf(spec: GitSyncSpec): SyncSettings | { readonly problem: string } {
  const url = parseGitUrl(spec.url ?? '');
  if ('problem' in url) return { problem: `spec.url ${url.problem}` };
  const path = repositoryPath(spec.path ?? '');
  if ('problem' in path) return { problem: `spec.path ${path.problem}` };
  return {
    url,
    path: path.steps,
    intervalMs: parseDuration(spec.interval ?? '') ?? gitSyncDefaults.intervalMs,
    timeoutMs: parseDuration(spec.timeout ?? '') ?? gitSyncDefaults.timeoutMs,
    maxDeletePercent: spec.limits?.maxDeletePercent ?? gitSyncDefaults.maxDeletePercent,
  };
}

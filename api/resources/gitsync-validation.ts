/** What the schema cannot say of a GitSync. */
import { parseDuration } from './duration.js';
import type { FieldError } from './errors.js';
import { parseGitUrl, refNameProblem, repositoryPath } from './git-url.js';
import { type GitRef, type GitSync, maxGitSyncTimeoutMs, minGitSyncIntervalMs } from './gitsync.js';
import type { FlotillaObject } from './meta.js';
import { validateMeta } from './meta-validation.js';
import { rangeProblem } from './semver-range.js';

/** It becomes a label's value, a field manager and a step of a URL. */
const gitSyncName = /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/;
const fullHash = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

export function validateGitSync(object: FlotillaObject): FieldError[] {
  const { metadata, spec = {} } = object as GitSync;
  const errors = validateMeta(metadata);
  const wrong = (field: string, message: string) => void errors.push({ field, message });
  if (!gitSyncName.test(metadata.name)) {
    wrong('metadata.name', 'must be at most 63 lower-case letters, digits, "-" and ".", with a letter or digit at both ends');
  }
  if (spec.url === undefined)
    errors.push({ field: 'spec.url', message: 'is required: where the repository is', reason: 'FieldValueRequired' });
  else {
    const url = parseGitUrl(spec.url);
    if ('problem' in url) wrong('spec.url', url.problem);
    else if (spec.proxySecretRef !== undefined && url.transport !== 'https' && url.transport !== 'http')
      wrong('spec.proxySecretRef', `works for https:// and http:// alone, and spec.url is ${url.transport}`);
  }
  validateRef(spec.ref, wrong);
  const path = repositoryPath(spec.path ?? '');
  if ('problem' in path) wrong('spec.path', path.problem);
  validateDuration('spec.interval', spec.interval, minGitSyncIntervalMs, 86_400_000, wrong);
  validateDuration('spec.timeout', spec.timeout, 1_000, maxGitSyncTimeoutMs, wrong);
  for (const [index, { name }] of (spec.dependsOn ?? []).entries()) {
    if (name === metadata.name) wrong(`spec.dependsOn[${index}].name`, 'a GitSync cannot wait for itself');
  }
  return errors;
}

function validateRef(ref: GitRef | undefined, wrong: (field: string, message: string) => void): void {
  if (ref === undefined) return;
  const given = Object.keys(ref).filter((key) => ref[key as keyof GitRef] !== undefined);
  if (given.length !== 1)
    wrong('spec.ref', `expected exactly one of branch, tag, semver and commit${given.length === 0 ? '' : `, not ${given.join(' and ')}`}`);
  for (const key of ['branch', 'tag'] as const) {
    const problem = ref[key] === undefined ? undefined : refNameProblem(ref[key]);
    if (problem !== undefined) wrong(`spec.ref.${key}`, problem);
  }
  if (ref.commit !== undefined && !fullHash.test(ref.commit))
    wrong('spec.ref.commit', 'must be the full hash of a commit: 40 lower-case hexadecimal digits');
  const range = ref.semver === undefined ? undefined : rangeProblem(ref.semver);
  if (range !== undefined) wrong('spec.ref.semver', range);
}

function validateDuration(
  field: string,
  text: string | undefined,
  minMs: number,
  maxMs: number,
  wrong: (field: string, message: string) => void,
) {
  if (text === undefined) return;
  const ms = parseDuration(text);
  if (ms === undefined) wrong(field, 'expected a length of time such as 30s, 5m or 1h');
  else if (ms < minMs || ms > maxMs) wrong(field, `must be between ${minMs / 1_000}s and ${maxMs / 1_000}s`);
}

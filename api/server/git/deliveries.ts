/**
 * What forges send when somebody has pushed: who proves to be the sender, and which refs it is about. GitHub, GitLab, Gitea, Forgejo, Gogs
 * and Bitbucket (Cloud and Data Center) each have headers and a body of their own. Pure.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import type { GitSyncSpec } from '../../resources/gitsync.js';

/**
 * An HMAC-SHA256 over the body, or GitLab's token as it is; compared without telling by time how much of it was right. The first header
 * that is there decides.
 */
export function isSigned(headers: IncomingHttpHeaders, body: Uint8Array, rawToken: Buffer): boolean {
  const token = rawToken.toString('utf8').trim();
  const digest = createHmac('sha256', token).update(body).digest('hex');
  const github = headerOf(headers, 'x-hub-signature-256');
  if (github !== undefined) return same(github, `sha256=${digest}`);
  const gitea = headerOf(headers, 'x-forgejo-signature') ?? headerOf(headers, 'x-gitea-signature') ?? headerOf(headers, 'x-gogs-signature');
  if (gitea !== undefined) return same(gitea, digest);
  // Bitbucket's; what GitHub sends under this name is a SHA-1, which is not taken.
  const bitbucket = headerOf(headers, 'x-hub-signature');
  if (bitbucket !== undefined) return same(bitbucket, `sha256=${digest}`);
  const gitlab = headerOf(headers, 'x-gitlab-token');
  return gitlab !== undefined && same(gitlab, token);
}

export interface Delivery {
  /** As the forge calls it; undefined when it does not say. */
  readonly event: string | undefined;
  readonly isPush: boolean;
  /** Whole names of the refs that moved; undefined when it does not say. */
  readonly refs: readonly string[] | undefined;
  /** The repository's default branch, where the forge tells. */
  readonly defaultBranch: string | undefined;
}

const eventHeaders = ['x-github-event', 'x-gitlab-event', 'x-forgejo-event', 'x-gitea-event', 'x-gogs-event', 'x-event-key'];

/** Events after which a ref may name another commit. */
const pushes = new Set([
  'push',
  'create',
  'delete',
  'Push Hook',
  'Tag Push Hook',
  'System Hook',
  'repo:push',
  'repo:refs_changed',
  'mirror:repo_synchronized',
]);

/** What GitLab's system hooks call the same things: they come for all that happens there, under one header. */
const systemPushes = new Set(['push', 'tag_push', 'repository_update']);

const said = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);
const Repository = said(z.object({ default_branch: said(z.string()) }));
const NamedRef = z.object({ type: z.enum(['branch', 'tag']), name: z.string() }).nullish();
const Body = z.object({
  /** GitHub, GitLab, Gitea; in GitHub's `create` and `delete` without the `refs/` that `ref_type` stands for. */
  ref: said(z.string()),
  ref_type: said(z.enum(['branch', 'tag'])),
  repository: Repository,
  project: Repository,
  /** GitLab's system hooks. */
  event_name: said(z.string()),
  refs: said(z.array(z.string())),
  /** Bitbucket Data Center. */
  changes: said(z.array(z.object({ ref: z.object({ id: z.string() }) }))),
  /** Bitbucket Cloud: `new` is null where a ref was deleted. */
  push: said(z.object({ changes: z.array(z.object({ new: NamedRef, old: NamedRef })) })),
});

/** Whatever cannot be read says nothing, and then it may be about anything. */
export function readDelivery(headers: IncomingHttpHeaders, body: Buffer): Delivery {
  const header = eventHeaders.map((name) => headerOf(headers, name)).find((found) => found !== undefined);
  const parsed = Body.safeParse(jsonOf(headers, body)).data;
  const isOfSystem = header === 'System Hook' && parsed?.event_name !== undefined;
  const event = isOfSystem ? parsed.event_name : header;
  const refs = parsed === undefined ? [] : refsOf(parsed);
  return {
    event,
    isPush: event === undefined || (isOfSystem ? systemPushes : pushes).has(event),
    refs: refs.length === 0 ? undefined : refs,
    defaultBranch: parsed?.repository?.default_branch ?? parsed?.project?.default_branch,
  };
}

const wholeName = ({ type, name }: { readonly type: 'branch' | 'tag'; readonly name: string }): string =>
  `refs/${type === 'branch' ? 'heads' : 'tags'}/${name}`;

function refsOf({ ref, ref_type: type, refs, changes, push }: z.infer<typeof Body>): readonly string[] {
  if (ref?.startsWith('refs/')) return [ref];
  if (ref !== undefined && type !== undefined) return [wholeName({ type, name: ref })];
  if (refs !== undefined) return refs;
  if (changes !== undefined) return changes.map((change) => change.ref.id);
  const named = (push?.changes ?? []).map((change) => change.new ?? change.old);
  return named.flatMap((found) => (found ? [wholeName(found)] : []));
}

/** Whether what this GitSync follows may name another commit since then. */
export function concerns(
  { isPush, refs, defaultBranch }: Delivery,
  { branch, tag, semver, commit }: NonNullable<GitSyncSpec['ref']> = {},
): boolean {
  if (!isPush) return false;
  // A commit comes by whichever ref it likes.
  if (refs === undefined || commit !== undefined) return true;
  if (branch !== undefined) return refs.includes(`refs/heads/${branch}`);
  if (tag !== undefined) return refs.includes(`refs/tags/${tag}`);
  if (semver !== undefined) return refs.some((ref) => ref.startsWith('refs/tags/'));
  return defaultBranch === undefined ? refs.some((ref) => ref.startsWith('refs/heads/')) : refs.includes(`refs/heads/${defaultBranch}`);
}

function jsonOf(headers: IncomingHttpHeaders, body: Buffer): unknown {
  const text = body.toString('utf8');
  const isForm = headerOf(headers, 'content-type')?.startsWith('application/x-www-form-urlencoded') ?? false;
  try {
    return JSON.parse(isForm ? (new URLSearchParams(text).get('payload') ?? '') : text);
  } catch {
    return undefined;
  }
}

function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}

/** Over digests of equal length, so that the length tells nothing either. */
function same(given: string, expected: string): boolean {
  const key = 'compare';
  const [a, b] = [given, expected].map((text) => createHmac('sha256', key).update(text).digest());
  return timingSafeEqual(a!, b!);
}

/** GitSync: a repository, a ref and a path whose manifests are kept applied. */
import { z } from 'zod';
import { Condition, type FlotillaObject } from './meta.js';

const Duration = z.string().max(32);
const SecretRef = z.strictObject({ name: z.string().min(1).max(253).describe('Name of the Secret.') });

export const GitRef = z.strictObject({
  branch: z.string().max(256).optional().describe('The newest commit of this branch.'),
  tag: z.string().max(256).optional().describe('The commit that this tag names.'),
  semver: z.string().max(256).optional().describe('The highest tag that is in this range of versions, as in ">=1.2 <2".'),
  commit: z.string().max(64).optional().describe('This commit and no other: its full hash.'),
});
export type GitRef = z.infer<typeof GitRef>;

export const GitSyncSpec = z.strictObject({
  url: z.string().max(1_024).optional().describe('Where the repository is: https, ssh, http, file or git@host:path.'),
  ref: GitRef.optional().describe(
    "What of it is applied: one of branch, tag, semver and commit. Default: the repository's own default branch.",
  ),
  path: z.string().max(1_024).optional().describe('The directory whose manifests are applied. Default: the whole repository.'),
  interval: Duration.optional().describe('How often the repository is asked for news. Default 1m, at least 5s.'),
  prune: z.boolean().optional().describe('Delete what this GitSync made once its manifest is gone. Default false.'),
  mode: z.enum(['apply', 'detect']).optional().describe('apply (default), or detect: report what differs, change nothing.'),
  suspend: z.boolean().optional().describe('Do nothing until this is false again.'),
  timeout: Duration.optional().describe('How long git may take, and with wait how long until everything is healthy. Default 60s.'),
  wait: z.boolean().optional().describe('The revision counts as applied only once everything in it is healthy. Default false.'),
  verify: z
    .strictObject({
      mode: z
        .enum(['signed'])
        .describe('signed: the tag that was asked for, if that is signed, else the commit has to be signed by one of the keys.'),
      keysSecretRef: SecretRef.describe('The Secret with the keys: allowed_signers for SSH, *.asc for GPG.'),
    })
    .optional()
    .describe('Apply only what somebody signed.'),
  secretRef: SecretRef.optional().describe(
    'The Secret that opens the repository: identity and known_hosts, username and password, or bearerToken.',
  ),
  proxySecretRef: SecretRef.optional().describe(
    "The Secret with the proxy to an http or https repository: address, username, password. Default: the server's own HTTPS_PROXY.",
  ),
  dependsOn: z
    .array(z.strictObject({ name: z.string().min(1).max(253).describe('Name of the GitSync.') }))
    .max(50)
    .optional()
    .describe('GitSyncs that have to be ready first.'),
  limits: z
    .strictObject({
      maxDeletePercent: z
        .int()
        .min(0)
        .max(100)
        .optional()
        .describe('From 3 deletions on, more than this share of all objects is deleted only with consent. Default 20.'),
    })
    .optional()
    .describe('What must not happen without a human.'),
  webhook: z
    .strictObject({ secretRef: SecretRef.describe('The Secret with the key `token`, which the sender signs with.') })
    .optional()
    .describe('Let POST /hooks/git/NAME wake it.'),
});
export type GitSyncSpec = z.infer<typeof GitSyncSpec>;

/** What the last revision changed, or in mode detect would change. Names are `unit/web.service`. */
export const GitSyncChange = z.strictObject({
  revision: z.string(),
  time: z.string(),
  created: z.int(),
  changed: z.int(),
  pruned: z.int(),
  unchanged: z.int(),
  /** The first of them. */
  names: z.strictObject({
    created: z.array(z.string()).optional(),
    changed: z.array(z.string()).optional(),
    pruned: z.array(z.string()).optional(),
  }),
});
export type GitSyncChange = z.infer<typeof GitSyncChange>;

export const GitSyncStatus = z.strictObject({
  observedGeneration: z.int().optional(),
  conditions: z.array(Condition).optional(),
  /** `main@sha1:…` */
  lastAttemptedRevision: z.string().optional(),
  lastAppliedRevision: z.string().optional(),
  /** The value of the annotation flotilla.dev/reconcile-requested-at that was carried out last. */
  lastHandledReconcileAt: z.string().optional(),
  /** The value of the annotation flotilla.dev/confirm-prune that was used up. */
  lastHandledConfirmation: z.string().optional(),
  /** `unit/web.service` of everything that this GitSync made and has not let go of. */
  inventory: z.array(z.string()).optional(),
  lastChange: GitSyncChange.optional(),
});
export type GitSyncStatus = z.infer<typeof GitSyncStatus>;

export type GitSync = FlotillaObject<GitSyncSpec, GitSyncStatus>;

export const gitSyncDefaults = { intervalMs: 60_000, timeoutMs: 60_000, maxDeletePercent: 20 } as const;
/** No repository is asked more often than this. */
export const minGitSyncIntervalMs = 5_000;
export const maxGitSyncTimeoutMs = 600_000;

export { gitSyncLabel } from './annotations.js';

/** Who a GitSync is among field managers. */
export const gitSyncManager = (name: string): string => `gitsync/${name}`;
/** Holds a GitSync until what it made is deleted or let go of. */
export const gitSyncFinalizer = 'flotilla.dev/gitsync';

/** What the rest of the program asks about GitSyncs: columns, defaults, validation. */
import { z } from 'zod';
import { conditionOf } from './conditions.js';
import { type GitSync, GitSyncSpec, GitSyncStatus } from './gitsync.js';
import { validateGitSync } from './gitsync-validation.js';
import type { Kind } from './kinds.js';
import { apiVersion, type FlotillaObject, group, ObjectMeta, version } from './meta.js';
import { humanAge } from './table.js';

const asGitSync = (object: FlotillaObject): GitSync => object as GitSync;

/** `main@sha1:0123456789abcdef…` with seven digits of the hash. */
export const shortRevision = (revision: string): string => revision.replace(/(@?sha(?:1|256):[0-9a-f]{7})[0-9a-f]+$/, '$1');

export const gitSyncKind: Kind = {
  group,
  version,
  kind: 'GitSync',
  plural: 'gitsyncs',
  singular: 'gitsync',
  shortNames: ['gs'],
  categories: ['flotilla'],
  description: 'A repository, a ref and a path whose manifests are kept applied.',
  schema: z.strictObject({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('GitSync'),
    metadata: ObjectMeta,
    spec: GitSyncSpec.optional().describe('What should be.'),
    status: GitSyncStatus.optional().describe('What was seen; written by the system.'),
  }),
  writable: true,
  listTypes: {
    'spec.dependsOn': { type: 'map', keys: ['name'] },
    'status.conditions': { type: 'map', keys: ['type'] },
  },
  columns: [
    { name: 'Name', type: 'string', description: 'Name of the GitSync.', priority: 0, cell: ({ metadata }) => metadata.name },
    {
      name: 'Ready',
      type: 'string',
      description: 'The Ready condition: what the repository says is what the cluster was told.',
      priority: 0,
      cell: (object) => conditionOf(object, 'Ready')?.status ?? '-',
    },
    {
      name: 'Revision',
      type: 'string',
      description: 'The revision that was applied last.',
      priority: 0,
      cell: (object) => shortRevision(asGitSync(object).status?.lastAppliedRevision ?? '-'),
    },
    {
      name: 'Suspended',
      type: 'string',
      description: 'Whether it does nothing for now.',
      priority: 0,
      cell: (object) => (asGitSync(object).spec?.suspend ? 'True' : 'False'),
    },
    {
      name: 'Age',
      type: 'string',
      description: 'Time since it was created.',
      priority: 0,
      cell: ({ metadata }, now) => humanAge(metadata.creationTimestamp, now),
    },
    {
      name: 'Status',
      type: 'string',
      description: 'What there is to say, in a sentence.',
      priority: 0,
      cell: (object) => conditionOf(object, 'Ready')?.message ?? 'Nobody has looked at it yet.',
    },
    {
      name: 'URL',
      type: 'string',
      description: 'Where the repository is.',
      priority: 1,
      cell: (object) => asGitSync(object).spec?.url ?? '-',
    },
  ],
  selectableFields: { 'spec.suspend': (object) => String(asGitSync(object).spec?.suspend ?? false) },
  // What is left out means its default where it is read: an object then says no more than its keeper wrote.
  withDefaults: (object) => object,
  validate: validateGitSync,
};

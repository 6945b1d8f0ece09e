import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kindByName } from '../../../api/resources/registry.js';
import { documentId, type SyncDocument } from '../../../controllers/gitsync/documents.js';
import { type LiveObject, planSync } from '../../../controllers/gitsync/plan.js';
import { isConsentTo } from '../../../controllers/gitsync/requests.js';

const document = (id: string): SyncDocument => {
  const [singular = '', name = ''] = id.split('/');
  const kind = kindByName(singular)!;
  return { kind, file: `${name}.yaml`, object: { apiVersion: 'flotilla.dev/v1', kind: kind.kind, metadata: { name } } };
};
const mine: LiveObject = { owner: 'prod', isBeingDeleted: false };
const many = (count: number) => Array.from({ length: count }, (_, at) => `unit/u${at}.service`);

interface Case {
  readonly name: string;
  readonly documents?: readonly string[] | undefined;
  readonly inventory?: readonly string[];
  /** What is there beside the inventory, which is there and owned unless this says otherwise. */
  readonly live?: Readonly<Record<string, LiveObject | 'unreadable' | undefined>>;
  readonly prune?: boolean;
  readonly isConfirmed?: boolean;
  readonly isCautious?: boolean;
  readonly max?: number;
  readonly expect: {
    readonly apply?: readonly string[];
    readonly prune?: readonly string[];
    readonly release?: readonly string[];
    readonly held?: number;
    readonly because?: string;
    readonly conflicts?: readonly string[];
    readonly blocked?: readonly string[];
    readonly inventory?: readonly string[];
  };
}

const cases: readonly Case[] = [
  { name: 'first time', documents: ['unit/a.service'], expect: { apply: ['unit/a.service'], inventory: ['unit/a.service'] } },
  {
    name: 'values, then templates, then what follows them',
    documents: ['unit/a@1.service', 'unit/a@.service', 'secret/s', 'gitsync/more'],
    expect: { apply: ['secret/s', 'unit/a@.service', 'unit/a@1.service', 'gitsync/more'] },
  },
  {
    name: 'one manifest is gone',
    documents: ['unit/b.service'],
    inventory: ['unit/a.service', 'unit/b.service'],
    expect: { prune: ['unit/a.service'], inventory: ['unit/b.service'] },
  },
  {
    name: 'instances go before their template',
    documents: ['unit/b.service'],
    inventory: ['unit/a@.service', 'unit/a@1.service', 'unit/b.service'],
    expect: { prune: ['unit/a@1.service', 'unit/a@.service'] },
  },
  {
    name: 'without prune it is let go of',
    documents: ['unit/b.service'],
    inventory: ['unit/a.service'],
    prune: false,
    expect: { prune: [], release: ['unit/a.service'], inventory: ['unit/b.service'] },
  },
  {
    name: 'somebody took the label off',
    documents: ['unit/b.service'],
    inventory: ['unit/a.service'],
    live: { 'unit/a.service': { owner: undefined, isBeingDeleted: false } },
    expect: { prune: [], release: [] },
  },
  {
    name: 'somebody deleted it already',
    documents: ['unit/b.service'],
    inventory: ['unit/a.service'],
    live: { 'unit/a.service': undefined },
    expect: { prune: [] },
  },
  {
    name: 'what cannot be read is neither pruned nor forgotten',
    documents: ['unit/b.service'],
    inventory: ['unit/a.service'],
    live: { 'unit/a.service': 'unreadable' },
    expect: { prune: [], inventory: ['unit/a.service', 'unit/b.service'] },
  },
  {
    name: 'what cannot be read is not written either',
    documents: ['unit/a.service'],
    live: { 'unit/a.service': 'unreadable' },
    expect: { apply: [], blocked: ['unit/a.service'] },
  },
  {
    name: 'a machine does not vanish because a file did',
    documents: ['unit/b.service'],
    inventory: ['machine/m'],
    expect: { prune: [], release: ['machine/m'] },
  },
  {
    name: 'a GitSync does not prune itself',
    documents: ['unit/b.service'],
    inventory: ['gitsync/prod'],
    expect: { prune: [], release: ['gitsync/prod'] },
  },
  {
    name: "another GitSync's object",
    documents: ['unit/a.service'],
    live: { 'unit/a.service': { owner: 'other', isBeingDeleted: false } },
    expect: { apply: [], conflicts: ['unit/a.service'], inventory: [] },
  },
  {
    name: 'the label of a GitSync that is gone',
    documents: ['unit/a.service'],
    live: { 'unit/a.service': { owner: 'gone', isBeingDeleted: false } },
    expect: { apply: ['unit/a.service'] },
  },
  {
    name: 'an object made by hand is taken over',
    documents: ['unit/a.service'],
    live: { 'unit/a.service': { owner: undefined, isBeingDeleted: false } },
    expect: { apply: ['unit/a.service'] },
  },
  {
    name: 'an object on its way out',
    documents: ['unit/a.service'],
    live: { 'unit/a.service': { owner: 'prod', isBeingDeleted: true } },
    expect: { apply: [], blocked: ['unit/a.service'] },
  },
  {
    name: 'two of three: from three on they are counted',
    documents: ['unit/u0.service'],
    inventory: many(3),
    expect: { prune: ['unit/u1.service', 'unit/u2.service'] },
  },
  { name: 'three of fifteen are a fifth', documents: many(15).slice(3), inventory: many(15), expect: { prune: many(3), held: 0 } },
  {
    name: 'three of fourteen are more',
    documents: many(14).slice(3),
    inventory: many(14),
    expect: { prune: [], held: 3, because: 'many', inventory: many(14).sort() },
  },
  { name: 'and are allowed where more is', documents: many(14).slice(3), inventory: many(14), max: 50, expect: { prune: many(3) } },
  { name: 'and once a human has agreed', documents: many(14).slice(3), inventory: many(14), isConfirmed: true, expect: { prune: many(3) } },
  {
    name: 'the path is missing',
    documents: undefined,
    inventory: many(1),
    expect: { prune: [], held: 1, because: 'empty', inventory: many(1) },
  },
  { name: 'the path is empty', documents: [], inventory: many(2), expect: { prune: [], held: 2, because: 'empty' } },
  {
    name: 'the path is empty, and a human has agreed',
    documents: [],
    inventory: many(2),
    isConfirmed: true,
    expect: { prune: many(2), inventory: [] },
  },
  {
    name: 'caution holds even what a human agreed to',
    documents: many(1),
    inventory: many(2),
    isConfirmed: true,
    isCautious: true,
    expect: { prune: [], held: 1, because: 'caution' },
  },
  { name: 'caution does not hold what is applied', documents: many(2), isCautious: true, expect: { apply: many(2), held: 0 } },
];

for (const {
  name,
  documents,
  inventory = [],
  live = {},
  prune = true,
  isConfirmed = false,
  isCautious = false,
  max = 20,
  expect,
} of cases) {
  test(`plan: ${name}`, () => {
    const plan = planSync({
      name: 'prod',
      documents: documents?.map(document),
      inventory,
      live: (id) => (id in live ? live[id] : inventory.includes(id) ? mine : undefined),
      isGitSync: (other) => other === 'prod' || other === 'other',
      prune,
      maxDeletePercent: max,
      isConfirmed,
      isCautious,
    });
    const seen = {
      apply: plan.apply.flat().map(documentId),
      prune: plan.prune.flat(),
      release: plan.release,
      held: plan.held.length,
      because: plan.heldBecause,
      conflicts: plan.conflicts.map(({ id }) => id),
      blocked: plan.blocked.map(({ id }) => id),
      inventory: plan.inventory,
    };
    for (const [key, value] of Object.entries(expect)) assert.deepEqual(seen[key as keyof typeof seen], value, key);
  });
}

const hash = '0123456789abcdef0123456789abcdef01234567';
for (const [consent, is] of [
  [`main@sha1:${hash} now`, true],
  [`main@sha1:${hash.slice(0, 7)} now`, true],
  [`${hash} now`, true],
  [hash.slice(0, 8), true],
  [hash.slice(0, 6), false],
  [`other@sha1:${hash} now`, false],
  [`main@sha1:${'f'.repeat(40)} now`, false],
  ['', false],
  [undefined, false],
] as const) {
  test(`consent: "${consent}" is ${is ? '' : 'not '}about the revision`, () => assert.equal(isConsentTo(consent, `main@sha1:${hash}`), is));
}

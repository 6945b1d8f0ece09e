/** The rules that decide correctness, by number, and that each has a test named after it: a rule that nobody tests is a wish. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const tests = resolve(dirname(fileURLToPath(import.meta.url)), '..');

const rules: Readonly<Record<number, string>> = {
  1: 'resourceVersion: objects even, lists and bookmarks odd; a watch loses nothing and repeats nothing, or says 410',
  2: 'one watch feeds the cache; an object joins its parts at one revision, and its resourceVersion never goes back',
  3: 'status is written by the system; the firm conditions; a global Unit has counts, written at most once a second',
  4: 'group commit: one transaction for many writes, each with its own outcome, which is never guessed',
  5: 'a text is stored once, and collected after a grace when nothing names it',
  6: 'controllers write through the same door as HTTP, with their fence',
  7: 'defaults: launched; a template is inactive',
  8: 'deletion waits for the processes, and says for which machine',
  9: 'an instance without a text of its own follows its template',
  10: 'events: leased by the five minutes, counted, at most a hundred an object',
  11: 'a unit is started once for each reason to start it',
  12: 'a running unit is restarted only for a reason',
  13: 'files: gone at boot, whole or absent, rolled back when systemd does not load them',
  14: "the machine's own names are neither shadowed nor touched",
  15: 'quiet: nothing is called once nothing changes; an absent value is an absent sample',
  16: 'boot without a server, and which snapshot is believed',
  17: 'heartbeats: one keepalive each, take-over in one transaction, no revocation',
  18: 'logs delay nothing else, show nothing foreign, and end with their reader',
  19: 'duplicate machine ids',
  20: 'failover policies',
  21: 'MachineOf groups move as one',
  22: 'caution with machines that vanish together',
  23: 'machine metadata: what a user has set wins',
  24: 'keys, certificates and tokens',
  25: 'several etcd members, and what is shown of them',
  26: "imperative verbs respect a GitSync's objects",
};

/** Rules that nothing here can break yet, and why. */
const deferred: Readonly<Record<number, string>> = {};

const titled = new Map<number, string[]>();
for (const entry of readdirSync(tests, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !/\.(test|contract)\.ts$/.test(entry.name) || entry.name === 'semantics.test.ts') continue;
  const source = readFileSync(join(entry.parentPath ?? entry.path, entry.name), 'utf8');
  // A title is a string that says so at its beginning, after the invariant that it is about too.
  for (const [, numbers] of source.matchAll(/['"`](?:[a-z]+(?: \d+)?, )*SEMANTICS (\d+(?:, \d+)*)[:,]/g)) {
    for (const number of numbers!.split(', ')) titled.set(Number(number), [...(titled.get(Number(number)) ?? []), entry.name]);
  }
}

for (const [number, rule] of Object.entries(rules)) {
  const why = deferred[Number(number)];
  test(`rule ${number} (${rule}) ${why ? `is deferred: ${why}` : 'has a test named after it'}`, () => {
    assert.equal(titled.has(Number(number)), why === undefined, `no title begins with "SEMANTICS ${number}:"`);
  });
}

test('no test is named after a rule that there is not', () => {
  assert.deepEqual(
    [...titled].filter(([number]) => rules[number] === undefined),
    [],
  );
});

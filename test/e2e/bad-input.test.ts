/** What users get wrong, through the real CLI and server: one clear error each, and nothing else is harmed. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { TestCluster, unitManifest } from '../rigs/cluster.js';

const good = unitManifest('good.service', '[Service]\nExecStart=/bin/true\n');
const unit = (name: string, spec: string) => `apiVersion: flotilla.dev/v1\nkind: Unit\nmetadata: {name: "${name}"}\nspec: ${spec}\n`;
const text = 'content: "[Service]\\nExecStart=/bin/true\\n"';

describe('bad input', () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start({ machines: 0 });
  });
  after(async () => {
    await cluster?.stop();
  });

  const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'
    .split('')
    .map((name, index) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[index]}`).join(',')}]`)
    .join('\n')}\n`;

  for (const { name, manifest, says } of [
    { name: 'broken YAML', manifest: 'apiVersion: [unclosed\nkind: Unit', says: /standard input:\d+:\d+/ },
    { name: 'a secret in broken YAML is not repeated', manifest: 'password: hunter2\n  kind: - broken: {', says: /^(?!.*hunter2)/s },
    { name: 'an alias bomb', manifest: bomb, says: /alias|nodes/i },
    {
      name: '__proto__',
      manifest: 'apiVersion: flotilla.dev/v1\nkind: Unit\nmetadata: {name: x.service, __proto__: {polluted: true}}\nspec: {}',
      says: /__proto__/,
    },
    {
      name: 'a duplicate key',
      manifest: 'apiVersion: flotilla.dev/v1\nkind: Unit\nkind: Machine\nmetadata: {name: x.service}',
      says: /duplicat/i,
    },
    { name: 'a 5 MB manifest', manifest: `# ${'x'.repeat(5_000_000)}\n${good}`, says: /1048576|1 MiB|too large|larger/i },
    {
      name: 'an unknown kind',
      manifest: 'apiVersion: flotilla.dev/v1\nkind: Unti\nmetadata: {name: x.service}',
      says: /Unti.*did you mean "?Unit/s,
    },
    { name: 'an unknown field', manifest: unit('x.service', `{${text}, desiredSate: launched}`), says: /desiredSate.*desiredState/s },
    { name: 'a path in a name', manifest: unit('../x.service', `{${text}}`), says: /invalid character|name/ },
    { name: 'a name of 300 characters', manifest: unit(`${'x'.repeat(292)}.service`, `{${text}}`), says: /25[56]/ },
    { name: 'no suffix', manifest: unit('x', `{${text}}`), says: /"\."|suffix|service/ },
    {
      name: 'a unit file with garbage',
      manifest: unit('x.service', '{content: "[Service]\\nExecStart docker run busybox\\n"}'),
      says: /line 2/,
    },
    { name: 'a template launched', manifest: unit('x@.service', `{${text}, desiredState: launched}`), says: /template/ },
    {
      name: 'a placement that contradicts itself',
      manifest: unit('x.service', `{${text}, placement: {global: true, machineOf: [y.service]}}`),
      says: /Global cannot be used with Peers|global/i,
    },
    {
      name: 'an option named in both places',
      manifest: unit(
        'x.service',
        '{content: "[Service]\\nExecStart=/bin/true\\n[X-Fleet]\\nConflicts=a*\\n", placement: {conflicts: ["b*"]}}',
      ),
      says: /both|[Cc]onflicts/,
    },
    {
      name: 'atMostOnce, which is not there yet',
      manifest: unit('x.service', `{${text}, failover: {policy: atMostOnce}}`),
      says: /atMostOnce/,
    },
  ]) {
    test(`${name}: one error, the good document beside it is applied, exit 1`, async () => {
      const before = (await cluster.units()).map((seen) => seen.metadata.name);
      const { code, stdout, stderr } = await cluster.dev.cli(['apply', '-f', '-'], { input: manifest });
      assert.equal(code, 1, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, says);
      assert.equal(
        stderr
          .trim()
          .split('\n')
          .filter((line) => line.startsWith('flotilla:')).length,
        1,
        stderr,
      );
      assert.deepEqual(
        (await cluster.units()).map((seen) => seen.metadata.name),
        before,
        'nothing was stored',
      );
    });
  }

  test('one bad document among good ones', async () => {
    const { code, stdout, stderr } = await cluster.dev.cli(['apply', '-f', '-'], {
      input: [good, unit('bad.service', '{nonsense: 1}'), good.replace('good.', 'other.')].join('\n---\n'),
    });
    assert.equal(code, 1);
    assert.equal(stdout, 'unit/good.service created\nunit/other.service created\n');
    assert.match(stderr, /document 2/);
    assert.match(stderr, /nonsense/);
  });

  test('a stale resourceVersion is a conflict that changes nothing', async () => {
    await cluster.apply(unitManifest('stale.service', '[Service]\nExecStart=/bin/true\n', { desiredState: 'inactive' }));
    const old = JSON.parse(await cluster.dev.mustCli(['get', 'unit', 'stale.service', '-o', 'json'])) as {
      metadata: { resourceVersion: string };
    };
    await cluster.apply(unitManifest('stale.service', '[Service]\nExecStart=/bin/false\n', { desiredState: 'inactive' }));
    const body = JSON.stringify({
      apiVersion: 'flotilla.dev/v1',
      kind: 'Unit',
      metadata: { name: 'stale.service', resourceVersion: old.metadata.resourceVersion },
      spec: { desiredState: 'launched' },
    });
    const { code, stderr } = await cluster.dev.cli(['apply', '-f', '-'], { input: body });
    assert.equal(code, 1);
    assert.match(stderr, /modified/);
  });

  for (const { words, says } of [
    { words: ['aply', '-f', 'x'], says: /did you mean "apply"/ },
    { words: ['get', 'unitz'], says: /did you mean "units"/ },
    { words: ['get', 'units', '--wathc'], says: /--watch/ },
    { words: ['get', 'units', '-o', 'xml'], says: /json/ },
    { words: ['wait', 'unit/x.service', '--for=ready'], says: /condition=NAME/ },
    { words: ['list_machines'], says: /list-machines/ },
  ]) {
    test(`flotilla ${words.join(' ')}: exit 2 and a suggestion`, async () => {
      const { code, stdout, stderr } = await cluster.dev.cli(words);
      assert.equal(code, 2, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, says);
    });
  }
});

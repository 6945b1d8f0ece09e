/** Sets of units, as people keep Deployments. */
import assert from 'node:assert/strict';
import { until } from '../../rigs/cluster.js';
import type { Kubectl, Step } from '../../rigs/kubectl.js';

const setOf = (kubectl: Kubectl, name: string, replicas: number, seconds = 'infinity') => {
  const labels = { session: kubectl.prefix };
  const template = { metadata: { labels: { ...labels, set: name } }, spec: { content: `[Service]\nExecStart=/bin/sleep ${seconds}\n` } };
  return JSON.stringify({
    apiVersion: 'flotilla.dev/v1',
    kind: 'UnitSet',
    metadata: { name, labels },
    spec: { replicas, template },
  });
};

export const sets: readonly Step[] = [
  {
    name: 'a set of units: apply, scale, another template, deletion that leaves its units, and one that does not',
    async run(kubectl) {
      const name = `${kubectl.prefix}-set`;
      const units = () => kubectl.must(['get', 'units', '-l', `set=${name}`, '-o', 'name']);
      const lines = (...numbers: number[]) => numbers.map((at) => `unit.flotilla.dev/${name}@${at}.service\n`).join('');
      const of = (path: string) => kubectl.must(['get', 'unitset', name, '-o', `jsonpath={${path}}`]);
      const ready = (count: number) => until(`${count} units`, async () => (await of('.status.readyReplicas')) === String(count));

      assert.equal(await kubectl.must(['apply', '-f', '-'], setOf(kubectl, name, 2)), `unitset.flotilla.dev/${name} created\n`);
      await kubectl.must(['wait', '--for=condition=Available', `unitset/${name}`, '--timeout=60s']);
      assert.equal(await units(), lines(1, 2));

      assert.match(await kubectl.must(['scale', `unitset/${name}`, '--current-replicas=2', '--replicas=3']), / scaled\n/);
      await ready(3);
      assert.equal(await units(), lines(1, 2, 3));
      await kubectl.refused(['scale', `unitset/${name}`, '--current-replicas=2', '--replicas=9'], /[Ee]xpected replicas to be 2, was 3/);

      assert.match(await kubectl.must(['apply', '-f', '-'], setOf(kubectl, name, 1, '1000')), / configured\n/);
      await until('the new template', async () => {
        const content = await kubectl.must(['get', 'units', '-l', `set=${name}`, '-o', 'jsonpath={.items[*].spec.content}']);
        return content.match(/sleep \S+/g)?.join() === 'sleep 1000';
      });

      assert.match(await kubectl.must(['delete', 'unitset', name, '--cascade=orphan']), /deleted/);
      assert.equal(await units(), lines(1));
      assert.equal(await kubectl.must(['get', 'units', '-l', `set=${name}`, '-o', 'jsonpath={.items[*].metadata.ownerReferences}']), '');

      const other = `${name}-2`;
      await kubectl.must(['apply', '--server-side', '-f', '-'], setOf(kubectl, other, 1));
      await kubectl.must(['wait', '--for=condition=Available', `unitset/${other}`, '--timeout=60s']);
      assert.match(await kubectl.must(['delete', 'unitset', other]), /deleted/);
      await until('its units to go', async () => (await kubectl.must(['get', 'units', '-l', `set=${other}`, '-o', 'name'])) === '');
    },
  },
];

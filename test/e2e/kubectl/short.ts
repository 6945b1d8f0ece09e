/** The life of a unit in few commands, for every version of kubectl there is; the requests of each differ a little. */
import assert from 'node:assert/strict';
import type { Kubectl } from '../../rigs/kubectl.js';

export async function shortSession(kubectl: Kubectl): Promise<void> {
  const [name, other] = [`${kubectl.prefix}@1.service`, `dev-${kubectl.prefix}\\x2dlabel.service`];
  const apply = (manifest: string, ...flags: string[]) => kubectl.must(['apply', ...flags, '-f', '-'], manifest);
  const list = (...items: object[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });

  assert.equal(await apply(kubectl.unit(name)), `unit.flotilla.dev/${name} created\n`);
  assert.equal(await apply(kubectl.unit(name)), `unit.flotilla.dev/${name} unchanged\n`);
  assert.equal(await apply(list(kubectl.object(other))), `unit.flotilla.dev/${other} created\n`);
  assert.match(await kubectl.must(['get', 'units', '-l', `session=${kubectl.prefix}`]), /^NAME +DESIRED .*\n(\S+ +launched .*\n){2}$/);
  await kubectl.must(['wait', '--for=condition=Ready', 'units', '-l', `session=${kubectl.prefix}`, '--timeout=60s']);
  const diff = await kubectl.run(['diff', '-f', '-'], { input: kubectl.unit(name, { seconds: '100' }) });
  assert.equal(diff.code, 1, diff.stderr);
  assert.match(diff.stdout, /^-.*sleep infinity[\s\S]*^\+.*sleep 100/m);
  assert.match(await kubectl.must(['patch', 'unit', name, '-p', '{"spec":{"desiredState":"loaded"}}']), /patched/);
  await kubectl.refused(
    ['apply', '--server-side', '--field-manager=second', '-f', '-'],
    /Apply failed with 1 conflict: conflict with "kubectl\S*" using flotilla\.dev\/v1: \.spec\.desiredState/,
    kubectl.unit(name),
  );
  assert.match(await apply(kubectl.unit(name), '--server-side', '--field-manager=second', '--force-conflicts'), /serverside-applied/);
  await kubectl.refused(['apply', '-f', '-'], /unknown field "(spec\.)?desiredSate"/, kubectl.unit(other, { spec: { desiredSate: 'x' } }));
  assert.match(await kubectl.must(['explain', 'unit.spec.placement']), /Globs of unit names that must not share the machine/);
  assert.match(await kubectl.must(['describe', 'unit', other]), /^Kind: +Unit$/m);
  assert.match(await kubectl.must(['delete', 'unit', name, other]), /deleted[\s\S]*deleted/);
}

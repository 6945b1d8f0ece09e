import assert from 'node:assert/strict';
import { test } from 'node:test';
import { previewSync } from '../../../controllers/gitsync/preview.js';
import { systemClock } from '../../../runtime/clock.js';
import { openRepositories } from '../../../runtime/git/repositories.js';
import { silentLogger } from '../../../runtime/log.js';
import { refused } from '../../api/objects/door-rig.js';
import { GitRepository, unitFile } from '../../rigs/git-repository.js';
import { SyncRig } from './rig.js';

const previewOn = ({ server, gitDirectory, secrets }: SyncRig, name: string, signal = new AbortController().signal) =>
  previewSync(
    name,
    {
      ...server,
      repositories: openRepositories({ directory: gitDirectory, fileRoots: undefined, clock: systemClock, log: silentLogger }),
      readSecret: async (secret) => secrets.get(secret),
    },
    signal,
  );

test('after its status was lost, a GitSync’s preview shows the same deletions as before, which are those that the sync then makes', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) repository.write(`${name}.service`, unitFile());
  repository.commit();
  await rig.apply('prod', { url: repository.url, prune: true });
  await rig.until('applied', () => rig.reason('prod') === 'Applied');
  await rig.stop();
  repository.remove('f.service').commit();
  const before = await previewOn(rig, 'prod');
  assert.deepEqual(
    before.objects.map(({ name, action }) => [name, action]),
    [['f.service', 'prune']],
  );
  await rig.loseStatus('prod');
  assert.deepEqual(await previewOn(rig, 'prod'), before);
  await rig.lead();
  await rig.until('pruned', () => !rig.units().includes('f.service'));
  assert.deepEqual(
    rig.said('Pruned').map((said) => said.split(':')[0]),
    ['Unit/f.service'],
  );
});

test('the preview says of a revision that cannot be applied what the sync says of it', async (t) => {
  const rig = await SyncRig.start(t);
  const repository = new GitRepository(t);
  repository.write('one.yaml', 'apiVersion: flotilla.dev/v1\nkind: Unit\nmetadata: {name: a@1.service}\n').commit();
  await rig.apply('prod', { url: repository.url });
  await rig.until('refused', () => rig.reason('prod') === 'InvalidManifests');
  await refused(previewOn(rig, 'prod'), 'Invalid', /a@1\.service follows its template a@\.service, which does not exist/);
});

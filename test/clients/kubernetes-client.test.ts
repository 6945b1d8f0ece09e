/** Kubernetes' own client library for JavaScript, as its users write it: objects by name, informers, events, access reviews. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  ApiException,
  AuthorizationV1Api,
  CoreV1Api,
  CustomObjectsApi,
  KubeConfig,
  type KubernetesListObject,
  type KubernetesObject,
  KubernetesObjectApi,
  makeInformer,
  PatchStrategy,
} from '@kubernetes/client-node';
import { authorize } from '../../api/server/authorize.js';
import { type Rig, startRig } from '../api/server/rig.js';

interface Unit extends KubernetesObject {
  readonly spec: { readonly content?: string; readonly desiredState?: string };
}

const header = { apiVersion: 'flotilla.dev/v1', kind: 'Unit' };
const content = '[Service]\nExecStart=/bin/sleep infinity\n';
const unit = (name: string, labels: Record<string, string> = {}, spec: Unit['spec'] = { content }): Unit => ({
  ...header,
  metadata: { name, labels },
  spec,
});
const named = (name: string) => ({ ...header, metadata: { name } });

/** Waits until `holds`, ten seconds at most. */
async function until(what: string, holds: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 10_000; !holds(); ) {
    assert.ok(Date.now() < deadline, `not within ten seconds: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const refusal = (code: number, says: RegExp) => (error: unknown) => {
  assert.ok(error instanceof ApiException, String(error));
  assert.equal(error.code, code);
  assert.match(JSON.stringify(error.body), says);
  return true;
};

describe('@kubernetes/client-node', () => {
  let rig: Rig;
  let config: KubeConfig;
  let objects: KubernetesObjectApi;

  before(async () => {
    rig = await startRig({ authorize, limits: { watchTimeoutMs: 200 } });
    config = new KubeConfig();
    config.loadFromOptions({
      // This library takes plain http for a mistake unless it is told not to check who answers.
      clusters: [{ name: 'flotilla', server: rig.url, skipTLSVerify: true }],
      users: [{ name: 'me' }],
      contexts: [{ name: 'flotilla', cluster: 'flotilla', user: 'me' }],
      currentContext: 'flotilla',
    });
    objects = KubernetesObjectApi.makeApiClient(config);
  });
  after(() => rig.close());

  test('an object is created, read, patched, listed and deleted', async () => {
    const made = await objects.create(unit('web.service', { app: 'web' }));
    assert.match(made.metadata?.uid ?? '', /^[0-9a-f-]{36}$/);
    await assert.rejects(objects.create(unit('web.service')), refusal(409, /AlreadyExists/));

    const read = await objects.read<Unit>(named('web.service'));
    assert.deepEqual([read.spec.content, read.spec.desiredState], [content, 'launched']);

    const change = { ...named('web.service'), metadata: { name: 'web.service', labels: { tier: 'front' } } };
    const patched = await objects.patch(change, undefined, undefined, 'tester', undefined, PatchStrategy.MergePatch);
    assert.deepEqual(patched.metadata?.labels, { app: 'web', tier: 'front' });

    await objects.create(unit('db.service', { app: 'db' }));
    const list = await objects.list<Unit>('flotilla.dev/v1', 'Unit', undefined, undefined, undefined, undefined, undefined, 'app=web');
    assert.deepEqual(
      list.items.map(({ metadata }) => metadata?.name),
      ['web.service'],
    );

    for (const name of ['web.service', 'db.service']) await objects.delete(named(name));
    await assert.rejects(objects.read(named('web.service')), refusal(404, /units\.flotilla\.dev.*not found/));
  });

  test('a replace with an old version is refused', async () => {
    const first = await objects.create(unit('old.service'));
    await objects.patch({ ...named('old.service'), spec: { desiredState: 'loaded' } }, undefined, undefined, 'other');
    await assert.rejects(objects.replace(first), refusal(409, /has been modified/));
    await objects.delete(named('old.service'));
  });

  test('server-side apply: created, a conflict, and by force', async () => {
    const apply = (manager: string, spec: Unit['spec'], force?: boolean) =>
      objects.patch(unit('ssa.service', {}, spec), undefined, undefined, manager, force, PatchStrategy.ServerSideApply);
    await apply('first', { content, desiredState: 'loaded' });
    await assert.rejects(apply('second', { desiredState: 'inactive' }), refusal(409, /conflict with .*first.*: \.spec\.desiredState/));
    const forced = (await apply('second', { desiredState: 'inactive' }, true)) as Unit;
    assert.deepEqual([forced.spec.desiredState, forced.spec.content], ['inactive', content]);
    await objects.delete(named('ssa.service'));
  });

  test('events, and whether one may', async () => {
    const events = await config.makeApiClient(CoreV1Api).listEventForAllNamespaces();
    assert.ok(Array.isArray(events.items));
    const { status } = await config.makeApiClient(AuthorizationV1Api).createSelfSubjectAccessReview({
      body: { spec: { resourceAttributes: { verb: 'create', group: 'flotilla.dev', resource: 'units' } } },
    });
    assert.equal(status?.allowed, true);
  });

  test('an informer: the list, each change, across watches that end, and a list again once history is lost', async () => {
    await objects.create(unit('a.service'));
    const custom = config.makeApiClient(CustomObjectsApi);
    const seen: string[] = [];
    let lists = 0;
    let connects = 0;
    const informer = makeInformer<Unit>(config, '/apis/flotilla.dev/v1/units', async () => {
      lists += 1;
      return (await custom.listClusterCustomObject({
        group: 'flotilla.dev',
        version: 'v1',
        plural: 'units',
      })) as KubernetesListObject<Unit>;
    });
    informer.on('add', ({ metadata }) => seen.push(`+ ${metadata?.name}`));
    informer.on('update', ({ metadata }) => seen.push(`~ ${metadata?.name}`));
    informer.on('delete', ({ metadata }) => seen.push(`- ${metadata?.name}`));
    informer.on('connect', () => {
      connects += 1;
    });
    const failures: unknown[] = [];
    informer.on('error', (error) => failures.push(error));
    await informer.start();
    try {
      await until('the list', () => seen.includes('+ a.service'));

      // The server ends each watch after a fraction of a second: what follows goes over several of them.
      await objects.create(unit('b.service'));
      await until('what is new', () => seen.includes('+ b.service'));
      const before = connects;
      await until('the next watch', () => connects > before);
      await objects.patch({ ...named('b.service'), spec: { desiredState: 'loaded' } }, undefined, undefined, 'tester');
      await until('what changed', () => seen.includes('~ b.service'));
      await objects.delete(named('a.service'));
      await until('what is gone', () => seen.includes('- a.service'));
      assert.equal(lists, 1, 'watches went on from where the last one ended');
      // A deletion shows twice: first it is marked.
      assert.deepEqual(seen, ['+ a.service', '+ b.service', '~ b.service', '~ a.service', '- a.service']);

      await rig.loseHistory();
      await until('the second list', () => lists > 1);
      await objects.create(unit('c.service'));
      await until('what came after it', () => seen.includes('+ c.service'));
      assert.deepEqual(
        informer
          .list()
          .map(({ metadata }) => metadata?.name)
          .sort(),
        ['b.service', 'c.service'],
      );
      assert.deepEqual(failures, []);
    } finally {
      await informer.stop();
    }
  });
});

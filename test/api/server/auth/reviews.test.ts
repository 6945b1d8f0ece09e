import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { authorize } from '../../../../api/server/authorize.js';
import { admin, anonymous, machine, type Rig, startRig } from '../rig.js';

const mayI = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
const whatMayI = '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews';
const whoAmI = '/apis/authentication.k8s.io/v1/selfsubjectreviews';

let rig: Rig;
before(async () => {
  rig = await startRig({
    authorize,
    extraPlugins: [
      (routes) =>
        routes.add({
          method: 'POST',
          path: '/apis/flotilla.dev/v1/kubeconfigs',
          audience: 'admin',
          attributes: () => ({ resource: 'kubeconfigs', verb: 'create' }),
          handler: () => ({}),
        }),
    ],
  });
});
after(() => rig.close());

const ann = { kind: 'admin', name: 'ann', via: 'certificate' } as const;

async function as<T>(identity: Rig['who']['identity'], run: () => Promise<T>): Promise<T> {
  rig.who.identity = identity;
  try {
    return await run();
  } finally {
    rig.who.identity = admin;
  }
}

for (const { what, spec, allowed, reason, who = ann } of [
  { what: 'create units', spec: { resourceAttributes: { verb: 'create', group: 'flotilla.dev', resource: 'units' } }, allowed: true },
  { what: 'read logs of pods', spec: { resourceAttributes: { verb: 'get', resource: 'pods', subresource: 'log' } }, allowed: true },
  { what: 'delete nodes', spec: { resourceAttributes: { verb: 'delete', resource: 'nodes' } }, allowed: false, reason: /for nobody/ },
  {
    what: 'write a status',
    spec: { resourceAttributes: { verb: 'patch', group: 'flotilla.dev', resource: 'units', subresource: 'status' } },
    allowed: false,
    reason: /for nobody/,
  },
  {
    what: 'impersonate',
    spec: { resourceAttributes: { verb: 'impersonate', resource: 'users' } },
    allowed: false,
    reason: /somebody else/,
  },
  {
    what: 'issue kubeconfigs',
    spec: { resourceAttributes: { verb: 'create', resource: 'kubeconfigs' } },
    allowed: false,
    reason: /unix socket/,
  },
  {
    what: 'issue them over the socket',
    spec: { resourceAttributes: { verb: 'create', resource: 'kubeconfigs' } },
    allowed: true,
    who: admin,
  },
  {
    what: 'do everything',
    spec: { resourceAttributes: { verb: '*', resource: '*' } },
    allowed: true,
    reason: /^everything but kubeconfigs$/,
  },
  { what: 'do everything over the socket', spec: { resourceAttributes: { verb: '*', resource: '*' } }, allowed: true, who: admin },
  { what: 'ask for health', spec: { nonResourceAttributes: { verb: 'get', path: '/healthz' } }, allowed: true },
  { what: 'scrape', spec: { nonResourceAttributes: { verb: 'get', path: '/metrics' } }, allowed: true },
]) {
  test(`may I ${what}: ${allowed ? 'yes' : 'no'}`, () =>
    as(who, async () => {
      const { status, json } = await rig.call('POST', mayI, { body: { kind: 'SelfSubjectAccessReview', spec } });
      assert.deepEqual([status, json.kind, json.status.allowed], [201, 'SelfSubjectAccessReview', allowed]);
      if (reason) assert.match(json.status.reason, reason);
    }));
}

test('may I: a review that asks nothing is a bad request', async () => {
  for (const body of [
    {},
    { spec: {} },
    { spec: { resourceAttributes: {}, nonResourceAttributes: {} } },
    { spec: { resourceAttributes: 1 } },
    { kind: 'Unit' },
  ]) {
    assert.equal((await rig.call('POST', mayI, { body })).status, 400, JSON.stringify(body));
  }
});

test('what may I: what the routes do and the authorizer lets through, and nothing else', () =>
  as(ann, async () => {
    const { json } = await rig.call('POST', whatMayI, { body: { kind: 'SelfSubjectRulesReview', spec: { namespace: 'default' } } });
    type Rule = { apiGroups: string[]; resources: string[]; verbs: string[] };
    const verbsOf = (group: string, resource: string) =>
      (json.status.resourceRules as Rule[]).find((rule) => rule.apiGroups[0] === group && rule.resources[0] === resource)?.verbs.sort();
    assert.deepEqual(verbsOf('flotilla.dev', 'units'), ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch']);
    assert.deepEqual(verbsOf('flotilla.dev', 'units/status'), ['get', 'watch']);
    assert.deepEqual(verbsOf('flotilla.dev', 'assignments'), ['get', 'list', 'watch']);
    assert.deepEqual(verbsOf('', 'pods'), ['delete', 'get', 'list', 'watch']);
    assert.deepEqual(verbsOf('', 'pods/eviction'), ['create']);
    assert.equal(verbsOf('flotilla.dev', 'kubeconfigs'), undefined);
    const urls = (json.status.nonResourceRules as { nonResourceURLs: string[] }[]).map((rule) => rule.nonResourceURLs[0]);
    assert.ok(urls.includes('/healthz') && urls.includes('/version'), urls.join(' '));
    assert.equal(json.status.incomplete, false);
  }));

test('who am I: as the connection says, and by which way', () =>
  as(ann, async () => {
    const { json } = await rig.call('POST', whoAmI, { body: { kind: 'SelfSubjectReview' } });
    const { username, groups, extra } = json.status.userInfo;
    assert.deepEqual([username, groups[0], extra['flotilla.dev/via']], ['ann', 'flotilla:admins', ['certificate']]);
  }));

test('a machine asks nothing about itself, and nobody even less', async () => {
  for (const path of [mayI, whatMayI, whoAmI]) {
    assert.equal((await as(machine, () => rig.call('POST', path, { body: {} }))).status, 403);
    assert.equal((await as(anonymous, () => rig.call('POST', path, { body: {} }))).status, 401);
  }
});

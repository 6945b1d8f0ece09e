import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { type Call, type Rig, startRig, unitBody, units } from './rig.js';

let rig: Rig;
before(async () => {
  rig = await startRig();
  const { status, text } = await rig.call('POST', units, { body: unitBody('a.service') });
  assert.equal(status, 201, text);
});
after(() => rig.close());

const assignments = '/apis/flotilla.dev/v1/assignments';
const events = '/api/v1/events';
const a = `${units}/a.service`;
const merge = 'application/merge-patch+json';
const apply = 'application/apply-patch+yaml';

interface Case {
  readonly name: string;
  readonly method?: string;
  readonly path: string;
  readonly call?: Call;
  readonly code: number;
  readonly reason: string;
  readonly says: RegExp;
}

const cases: readonly Case[] = [
  {
    name: 'no such object',
    path: `${units}/nope.service`,
    code: 404,
    reason: 'NotFound',
    says: /^units\.flotilla\.dev "nope\.service" not found$/,
  },
  { name: 'no such event', path: `${events}/nope`, code: 404, reason: 'NotFound', says: /^events "nope" not found$/ },
  { name: 'no such kind', path: '/apis/flotilla.dev/v1/pods', code: 404, reason: 'NotFound', says: /could not find/ },
  { name: 'no such group', path: '/apis/apps/v1/deployments', code: 404, reason: 'NotFound', says: /could not find/ },
  { name: 'a name with a slash in it', path: `${units}/..%2Fsecrets`, code: 404, reason: 'NotFound', says: /not found/ },
  { name: 'a name longer than any', path: `${units}/${'x'.repeat(600)}`, code: 400, reason: 'BadRequest', says: /longer than any name/ },
  { name: 'a URL that cannot be decoded', path: `${units}/%zz`, code: 400, reason: 'BadRequest', says: /percent/ },
  {
    name: 'a URL without end',
    path: `${units}?labelSelector=${'x'.repeat(9_000)}`,
    code: 400,
    reason: 'BadRequest',
    says: /longer than 8192/,
  },
  {
    name: 'another method on a collection',
    method: 'PUT',
    path: units,
    call: { body: {} },
    code: 405,
    reason: 'MethodNotAllowed',
    says: /^PUT is not possible here; DELETE, GET, POST are$/,
  },
  {
    name: 'another method on discovery',
    method: 'POST',
    path: '/apis',
    call: { body: {} },
    code: 405,
    reason: 'MethodNotAllowed',
    says: /GET is$/,
  },
  { name: 'a whole collection deleted', method: 'DELETE', path: units, code: 405, reason: 'MethodNotAllowed', says: /one by one/ },
  {
    name: 'creating an assignment',
    method: 'POST',
    path: assignments,
    call: { body: {} },
    code: 405,
    reason: 'MethodNotAllowed',
    says: /written by the system/,
  },
  {
    name: 'changing an assignment',
    method: 'PATCH',
    path: `${assignments}/x`,
    call: { body: {}, type: merge },
    code: 405,
    reason: 'MethodNotAllowed',
    says: /written by the system/,
  },
  {
    name: 'deleting an assignment',
    method: 'DELETE',
    path: `${assignments}/x`,
    code: 405,
    reason: 'MethodNotAllowed',
    says: /written by the system/,
  },
  {
    name: 'creating an event',
    method: 'POST',
    path: '/api/v1/namespaces/default/events',
    call: { body: {} },
    code: 405,
    reason: 'MethodNotAllowed',
    says: /written by the system/,
  },
  {
    name: 'SEMANTICS 3: PUT on status',
    method: 'PUT',
    path: `${a}/status`,
    call: { body: {} },
    code: 403,
    reason: 'Forbidden',
    says: /the system writes it/,
  },
  {
    name: 'SEMANTICS 3: PATCH on status',
    method: 'PATCH',
    path: `${a}/status`,
    call: { body: {}, type: merge },
    code: 403,
    reason: 'Forbidden',
    says: /the system writes it/,
  },
  {
    name: 'an Accept that cannot be met',
    path: units,
    call: { headers: { accept: 'text/html' } },
    code: 406,
    reason: 'NotAcceptable',
    says: /application\/json/,
  },
  {
    name: 'an Accept that cannot be met, before anything is written',
    method: 'DELETE',
    path: a,
    call: { headers: { accept: 'text/html' } },
    code: 406,
    reason: 'NotAcceptable',
    says: /application\/json/,
  },
  {
    name: 'a body larger than the limit',
    method: 'POST',
    path: units,
    call: { body: ' '.repeat(4 * 1024 * 1024 + 1) },
    code: 413,
    reason: 'RequestEntityTooLarge',
    says: /larger than 4194304 bytes/,
  },
  {
    name: 'a body of an unknown type',
    method: 'POST',
    path: units,
    call: { body: 'x', type: 'text/plain' },
    code: 415,
    reason: 'UnsupportedMediaType',
    says: /application\/json or application\/yaml, not text\/plain/,
  },
  {
    name: 'protobuf',
    method: 'POST',
    path: units,
    call: { body: 'k8s\0', type: 'application/vnd.kubernetes.protobuf' },
    code: 415,
    reason: 'UnsupportedMediaType',
    says: /protobuf/,
  },
  {
    name: 'a Content-Type that is none',
    method: 'POST',
    path: units,
    call: { body: 'x', type: 'nonsense' },
    code: 415,
    reason: 'UnsupportedMediaType',
    says: /media type|nonsense/,
  },
  {
    name: 'a PATCH as plain JSON',
    method: 'PATCH',
    path: a,
    call: { body: {} },
    code: 415,
    reason: 'UnsupportedMediaType',
    says: /application\/merge-patch\+json/,
  },
  {
    name: 'broken JSON',
    method: 'POST',
    path: units,
    call: { body: '{"a":' },
    code: 400,
    reason: 'BadRequest',
    says: /not JSON: it ends too early/,
  },
  { name: 'no body', method: 'POST', path: units, code: 400, reason: 'BadRequest', says: /no body/ },
  {
    name: 'a body of a million brackets',
    method: 'POST',
    path: units,
    call: { body: '['.repeat(1_000_000) },
    code: 400,
    reason: 'BadRequest',
    says: /nests more than 100/,
  },
  {
    name: '__proto__',
    method: 'POST',
    path: units,
    call: { body: '{"__proto__":{"kind":"Unit"}}' },
    code: 400,
    reason: 'BadRequest',
    says: /__proto__/,
  },
  {
    name: 'broken YAML',
    method: 'PATCH',
    path: `${a}?fieldManager=t`,
    call: { body: 'a: [', type: apply },
    code: 400,
    reason: 'BadRequest',
    says: /line 1, column \d+/,
  },
  {
    name: 'two YAML documents',
    method: 'POST',
    path: units,
    call: { body: 'a: 1\n---\nb: 2\n', type: 'application/yaml' },
    code: 400,
    reason: 'BadRequest',
    says: /several/,
  },
  {
    name: 'another name in the body than in the URL',
    method: 'PUT',
    path: a,
    call: { body: unitBody('b.service') },
    code: 400,
    reason: 'BadRequest',
    says: /b\.service.*does not match.*a\.service/,
  },
  {
    name: 'a stale resourceVersion',
    method: 'PUT',
    path: a,
    call: { body: { ...unitBody('a.service'), metadata: { name: 'a.service', resourceVersion: '2' } } },
    code: 409,
    reason: 'Conflict',
    says: /has been modified/,
  },
  {
    name: 'creating what exists',
    method: 'POST',
    path: units,
    call: { body: unitBody('a.service') },
    code: 409,
    reason: 'AlreadyExists',
    says: /already exists/,
  },
  {
    name: 'a manifest of another kind',
    method: 'POST',
    path: units,
    call: { body: { ...unitBody('b.service'), kind: 'Machine' } },
    code: 400,
    reason: 'BadRequest',
    says: /Machine|Unit/,
  },
  {
    name: 'an unknown field',
    method: 'POST',
    path: units,
    call: { body: unitBody('b.service', { spec: { desiredSate: 'launched' } }) },
    code: 400,
    reason: 'BadRequest',
    says: /desiredSate/,
  },
  {
    name: 'a field given twice',
    method: 'POST',
    path: units,
    call: { body: JSON.stringify(unitBody('b.service')).replace('"spec":{', '"spec":{"desiredState":"loaded","desiredState":"launched",') },
    code: 400,
    reason: 'BadRequest',
    says: /^strict decoding error: duplicate field "spec\.desiredState"$/,
  },
  {
    name: 'a field given twice in a merge patch',
    method: 'PATCH',
    path: a,
    call: { body: '{"spec":{"desiredState":"loaded","desiredState":"launched"}}', type: merge },
    code: 422,
    reason: 'Invalid',
    says: /patch: Invalid value: strict decoding error: duplicate field "spec\.desiredState"$/,
  },
  {
    name: 'a field given twice in applied YAML',
    method: 'PATCH',
    path: `${a}?fieldManager=t`,
    call: { body: 'kind: Unit\nkind: Unit\n', type: apply },
    code: 400,
    reason: 'BadRequest',
    says: /line 2/,
  },
  {
    name: 'an unknown field in a merge patch',
    method: 'PATCH',
    path: a,
    call: { body: { spec: { desiredSate: 'launched' } }, type: merge },
    code: 422,
    reason: 'Invalid',
    says: /^Unit\.flotilla\.dev "a\.service" is invalid: patch: Invalid value: strict decoding error: unknown field "spec\.desiredSate" \(did you mean "desiredState"\?\)$/,
  },
  {
    name: 'an unknown field in a JSON patch',
    method: 'PATCH',
    path: a,
    call: { body: [{ op: 'add', path: '/spec/desiredSate', value: 'launched' }], type: 'application/json-patch+json' },
    code: 422,
    reason: 'Invalid',
    says: /patch: Invalid value: strict decoding error: unknown field "spec\.desiredSate"/,
  },
  {
    name: 'an unknown field in an applied configuration',
    method: 'PATCH',
    path: `${a}?fieldManager=t`,
    call: { body: unitBody('a.service', { spec: { desiredSate: 'launched' } }), type: apply },
    code: 400,
    reason: 'BadRequest',
    says: /^strict decoding error: unknown field "spec\.desiredSate"/,
  },
  {
    name: 'a merge patch that is broken JSON',
    method: 'PATCH',
    path: a,
    call: { body: '{"spec":', type: merge },
    code: 400,
    reason: 'BadRequest',
    says: /not JSON/,
  },
  {
    name: 'a JSON patch whose test does not hold',
    method: 'PATCH',
    path: a,
    call: { body: [{ op: 'test', path: '/spec/desiredState', value: 'loaded' }], type: 'application/json-patch+json' },
    code: 422,
    reason: 'Invalid',
    says: /operation 0 \(test \/spec\/desiredState\) failed/,
  },
  {
    name: 'a JSON patch to a path that is not there',
    method: 'PATCH',
    path: a,
    call: { body: [{ op: 'remove', path: '/spec/nope' }], type: 'application/json-patch+json' },
    code: 422,
    reason: 'Invalid',
    says: /nothing at that path/,
  },
  {
    name: 'a merge patch with a stale resourceVersion',
    method: 'PATCH',
    path: a,
    call: { body: { metadata: { resourceVersion: '2', labels: { a: 'b' } } }, type: merge },
    code: 409,
    reason: 'Conflict',
    says: /has been modified/,
  },
  {
    name: 'a configuration applied for a stale resourceVersion',
    method: 'PATCH',
    path: `${a}?fieldManager=t`,
    call: { body: { ...unitBody('a.service'), metadata: { name: 'a.service', resourceVersion: '2' } }, type: apply },
    code: 409,
    reason: 'Conflict',
    says: /has been modified/,
  },
  {
    name: 'a delete for a stale resourceVersion',
    method: 'DELETE',
    path: a,
    call: { body: { preconditions: { resourceVersion: '2' } } },
    code: 409,
    reason: 'Conflict',
    says: /resourceVersion|modified/i,
  },
  {
    name: 'a merge patch for what is not there',
    method: 'PATCH',
    path: `${units}/nope.service`,
    call: { body: {}, type: merge },
    code: 404,
    reason: 'NotFound',
    says: /^units\.flotilla\.dev "nope\.service" not found$/,
  },
  {
    name: 'taking another user for oneself',
    path: a,
    call: { headers: { 'impersonate-user': 'admin' } },
    code: 403,
    reason: 'Forbidden',
    says: /impersonat|takes nobody/i,
  },
  {
    name: 'a name that is no unit',
    method: 'POST',
    path: units,
    call: { body: unitBody('../x.service') },
    code: 422,
    reason: 'Invalid',
    says: /metadata\.name/,
  },
  {
    name: 'server-side apply without a manager',
    method: 'PATCH',
    path: a,
    call: { body: unitBody('a.service'), type: apply },
    code: 422,
    reason: 'Invalid',
    says: /fieldManager: Required value/,
  },
  {
    name: 'force on a merge patch',
    method: 'PATCH',
    path: `${a}?force=true`,
    call: { body: {}, type: merge },
    code: 422,
    reason: 'Invalid',
    says: /force/,
  },
  {
    name: 'a dryRun that is not All',
    method: 'POST',
    path: `${units}?dryRun=Some`,
    call: { body: unitBody('b.service') },
    code: 400,
    reason: 'BadRequest',
    says: /dryRun must be All/,
  },
  {
    name: 'a fieldValidation that does not exist',
    method: 'POST',
    path: `${units}?fieldValidation=Loose`,
    call: { body: unitBody('b.service') },
    code: 400,
    reason: 'BadRequest',
    says: /Strict, Warn, Ignore/,
  },
  {
    name: 'a field manager without end',
    method: 'POST',
    path: `${units}?fieldManager=${'m'.repeat(129)}`,
    call: { body: unitBody('b.service') },
    code: 400,
    reason: 'BadRequest',
    says: /at most 128/,
  },
  {
    name: 'a selector that cannot be read',
    path: `${units}?labelSelector=a+in+b`,
    code: 400,
    reason: 'BadRequest',
    says: /label selector/,
  },
  {
    name: 'a field that cannot be selected by',
    path: `${units}?fieldSelector=spec.content%3Dx`,
    code: 400,
    reason: 'BadRequest',
    says: /^field label not supported: spec\.content$/,
  },
  { name: 'a limit that is no number', path: `${units}?limit=-1`, code: 400, reason: 'BadRequest', says: /limit must be a whole number/ },
  {
    name: 'a resourceVersion that is no number',
    path: `${units}?resourceVersion=abc`,
    code: 400,
    reason: 'BadRequest',
    says: /resourceVersion must be a whole number/,
  },
  { name: 'a continue token of somebody else', path: `${units}?continue=abc`, code: 400, reason: 'BadRequest', says: /continue token/ },
  {
    name: 'a watch list without its match',
    path: `${units}?watch=true&sendInitialEvents=true`,
    code: 422,
    reason: 'Invalid',
    says: /NotOlderThan/,
  },
  {
    name: 'a watch with a selector that cannot be read',
    path: `${units}?watch=true&labelSelector=(`,
    code: 400,
    reason: 'BadRequest',
    says: /label selector/,
  },
  {
    name: 'DeleteOptions that are a list',
    method: 'DELETE',
    path: a,
    call: { body: [] },
    code: 400,
    reason: 'BadRequest',
    says: /DeleteOptions/,
  },
  {
    name: 'an unknown propagationPolicy',
    method: 'DELETE',
    path: a,
    call: { body: { propagationPolicy: 'Later' } },
    code: 400,
    reason: 'BadRequest',
    says: /Orphan, Background, Foreground/,
  },
  {
    name: 'a precondition that does not hold',
    method: 'DELETE',
    path: a,
    call: { body: { preconditions: { uid: 'other' } } },
    code: 409,
    reason: 'Conflict',
    says: /uid/i,
  },
  { name: 'deleting what is not there', method: 'DELETE', path: `${units}/nope.service`, code: 404, reason: 'NotFound', says: /not found/ },
  { name: 'no such health check', path: '/readyz/nope', code: 404, reason: 'NotFound', says: /there are ping, etcd, cache/ },
  {
    name: 'no such component',
    path: '/apis/flotilla.dev/v1/components/nope',
    code: 404,
    reason: 'NotFound',
    says: /components\.flotilla\.dev "nope" not found/,
  },
];

for (const { name, method = 'GET', path, call, code, reason, says } of cases) {
  test(`${code} ${reason}: ${name}`, async () => {
    const answer = await rig.call(method, path, call);
    assert.equal(answer.status, code, answer.text);
    const { kind, apiVersion, status, message, json } = { ...answer.json, json: answer.json };
    assert.deepEqual(
      { kind, apiVersion, status, code: json.code, reason: json.reason },
      { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason },
    );
    assert.match(message, says);
    assert.equal(answer.headers['content-type'], 'application/json');
  });
}

test('after all these, the one object is as it was', async () => {
  const { json } = await rig.get(units);
  assert.equal(json.items.length, 1);
  assert.equal(json.items[0].metadata.generation, 1);
});

test('503 ServiceUnavailable: etcd is away: a write says so, and when to come back', async () => {
  const cut = await startRig();
  cut.store.faults.unavailable = true;
  const { status, json, headers } = await cut.call('POST', units, { body: unitBody('b.service') });
  assert.deepEqual([status, json.reason, headers['retry-after']], [503, 'ServiceUnavailable', '1']);
  await cut.close();
});

test('500 InternalError: what was not foreseen is logged, and its words are not sent', async () => {
  const lines: unknown[] = [];
  const log = {
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: (message: string, fields?: object) => void lines.push([message, fields]),
    child: () => log,
  };
  const boom = () => {
    throw new Error('the password is hunter2');
  };
  const broken = await startRig({
    log,
    extraPlugins: [
      (routes) =>
        routes.add({
          method: 'GET',
          path: '/boom',
          audience: 'public',
          attributes: () => ({ method: 'get', path: '/boom' }),
          handler: boom,
        }),
    ],
  });
  const { status, json, text } = await broken.get('/boom');
  assert.deepEqual([status, json.reason], [500, 'InternalError']);
  assert.doesNotMatch(text, /hunter2/);
  assert.equal(lines.length, 1);
  await broken.close();
});

test('a request that is no HTTP at all does not end the server', async () => {
  const socket = net.connect(rig.port, '127.0.0.1');
  socket.end('\x16\x03\x01nonsense\r\n\r\n');
  await new Promise((resolve) => socket.resume().once('close', resolve));
  assert.equal((await rig.get('/livez')).status, 200);
});

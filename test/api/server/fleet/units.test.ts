/** `/units`, route by route, as fleet answered them and as its documentation promised. */
import assert from 'node:assert/strict';
import type { OutgoingHttpHeaders } from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';
import { units as kubernetesUnits, unitBody } from '../rig.js';
import { dead, type FleetRig, fresh, hello, helloHash, startFleetRig } from './rig.js';

const m1 = `${'0'.repeat(24)}f1ee7001`;
let rig: FleetRig;
let count = 0;
/** A name that no other test uses. */
let unit: string;
before(async () => {
  rig = await startFleetRig();
  await rig.machine(m1, { address: '10.77.0.1' });
});
after(() => rig.close());
beforeEach(() => {
  unit = `u${++count}.service`;
});

const refusal = (code: number, message: string) => ({ error: { code, message } });
const submit = async (options: unknown = hello, desiredState?: string) => {
  const answer = await rig.fleet('PUT', `units/${encodeURIComponent(unit)}`, { name: unit, options, desiredState });
  assert.equal(answer.status, 201, answer.text);
};
const put = (body: unknown, name: string = unit) => rig.fleet('PUT', `units/${encodeURIComponent(name)}`, body);
const get = () => rig.fleet('GET', `units/${encodeURIComponent(unit)}`);

describe('GET units/NAME', () => {
  test('of a unit that nobody made', async () => {
    const { status, json, headers } = await get();
    assert.deepEqual([status, json], [404, refusal(404, 'unit does not exist')]);
    assert.equal(headers['content-type'], 'application/json');
    assert.match(String(headers.server), /^fleetd\/1\.0\.0\+flotilla\./);
  });

  test('shows its options in order, inactive when nothing was asked for', async () => {
    await submit();
    assert.deepEqual((await get()).json, { currentState: 'inactive', desiredState: 'inactive', name: unit, options: hello });
  });

  for (const { name, desired, seen, current } of [
    { name: 'nothing was reported yet', desired: 'launched', seen: undefined, current: 'inactive' },
    { name: 'loaded, not started', desired: 'loaded', seen: fresh, current: 'loaded' },
    { name: 'loaded, about to be started', desired: 'launched', seen: fresh, current: 'loaded' },
    { name: 'running', desired: 'launched', seen: {}, current: 'launched' },
    { name: 'failed: it was launched all the same', desired: 'launched', seen: { active: 'failed', sub: 'failed' }, current: 'launched' },
    { name: 'running, about to be stopped', desired: 'loaded', seen: {}, current: 'launched' },
    { name: 'stopped', desired: 'loaded', seen: dead, current: 'loaded' },
    { name: 'stopped after it had failed', desired: 'loaded', seen: { active: 'failed', sub: 'failed' }, current: 'loaded' },
    { name: 'being unloaded', desired: 'inactive', seen: dead, current: 'loaded' },
    { name: 'unloaded', desired: 'inactive', seen: { ...dead, load: 'not-found', gone: true }, current: 'inactive' },
  ]) {
    test(`currentState: ${name}`, async () => {
      await submit(hello, desired);
      await rig.schedule(unit, m1);
      if (seen) await rig.report(unit, m1, seen);
      const { json } = await get();
      assert.deepEqual([json.currentState, json.machineID, json.desiredState], [current, m1, desired]);
    });
  }

  test('of a global unit has no currentState and no machine, also before anybody has looked at it', async () => {
    await submit([...hello, { section: 'X-Fleet', name: 'Global', value: 'true' }]);
    assert.deepEqual(Object.keys((await get()).json), ['desiredState', 'name', 'options']);
    await rig.schedule(unit, m1, { global: true });
    assert.deepEqual(Object.keys((await get()).json), ['desiredState', 'name', 'options']);
  });
});

describe('PUT units/NAME', () => {
  test('makes a unit, which is inactive unless more was asked for', async () => {
    const answer = await put({ name: unit, options: hello });
    assert.deepEqual([answer.status, answer.text, answer.headers['content-length']], [201, '', '0']);
    assert.equal((await get()).json.desiredState, 'inactive');
  });

  test('makes a unit that is launched from the start', async () => {
    await submit(hello, 'launched');
    assert.equal((await get()).json.desiredState, 'launched');
  });

  test('takes the name from the URL when the body has none, null for nothing, and passes over what it does not know', async () => {
    assert.equal((await put({ name: null, options: hello, desiredState: null, machineID: null, colour: 'red' })).status, 201);
    assert.equal((await get()).status, 200);
  });

  test('sets the desired state: 204 and no body, the same again too', async () => {
    await submit();
    for (const desiredState of ['loaded', 'launched', 'launched', 'inactive']) {
      const answer = await put({ name: unit, desiredState });
      assert.deepEqual([answer.status, answer.text, answer.headers['content-length']], [204, '', undefined]);
      assert.equal((await get()).json.desiredState, desiredState);
    }
  });

  test('with the same options and a desired state is a change of state', async () => {
    await submit();
    assert.equal((await put({ name: unit, options: hello, desiredState: 'launched' })).status, 204);
    // The same to fleet: sections are grouped before they are compared, and white space around values is nothing.
    const spaced = hello.map((option) => ({ ...option, value: ` ${option.value} ` }));
    assert.equal((await put({ name: unit, options: spaced, desiredState: 'loaded' })).status, 204);
    assert.equal((await get()).json.desiredState, 'loaded');
  });

  test('with other options overwrites, and resets the desired state unless one is given', async () => {
    await submit(hello, 'launched');
    const others = [...hello, { section: 'Service', name: 'User', value: 'core' }];
    assert.equal((await put({ name: unit, options: others })).status, 201);
    assert.deepEqual((await get()).json, { currentState: 'inactive', desiredState: 'inactive', name: unit, options: others });
    assert.equal((await put({ name: unit, options: hello, desiredState: 'launched' })).status, 201);
    assert.deepEqual((await get()).json, { currentState: 'inactive', desiredState: 'launched', name: unit, options: hello });
  });

  test('that says nothing new is refused', async () => {
    const nothing = await put({ name: unit });
    assert.deepEqual([nothing.status, nothing.json], [409, refusal(409, 'unit does not exist and options field empty')]);
    await submit();
    for (const body of [{ name: unit }, { name: unit, options: hello }, {}]) {
      const { status, json } = await put(body);
      assert.deepEqual([status, json], [409, refusal(409, 'must provide DesiredState to update existing unit')]);
    }
  });

  test('a template can be made and never activated, when it is made neither', async () => {
    unit = `t${count}@.service`;
    const cannot = refusal(400, `cannot activate template "${unit}"`);
    for (const desiredState of ['loaded', 'launched']) {
      assert.deepEqual((await put({ name: unit, options: hello, desiredState })).json, cannot);
    }
    assert.equal((await get()).status, 404);
    await submit();
    assert.deepEqual((await put({ name: unit, desiredState: 'launched' })).json, cannot);
    assert.equal((await put({ name: unit, desiredState: 'inactive' })).status, 204);
  });

  test('a desired state that does not exist is refused, and the unit stays as it was', async () => {
    const answer = () => put({ name: unit, options: hello, desiredState: 'bogus' });
    const expected = refusal(400, 'invalid desiredState "bogus": expected inactive, loaded, launched');
    assert.deepEqual((await answer()).json, expected);
    assert.equal((await get()).status, 404);
    await submit();
    assert.deepEqual((await answer()).json, expected);
    assert.equal((await get()).json.desiredState, 'inactive');
    assert.equal((await rig.fleet('DELETE', `units/${unit}`)).status, 204);
  });

  test('two at the same time lose nothing of either', async () => {
    await submit();
    const others = [...hello, { section: 'Service', name: 'User', value: 'core' }];
    const answers = await Promise.all([
      put({ name: unit, options: others, desiredState: 'loaded' }),
      ...Array.from({ length: 8 }, () => put({ name: unit, desiredState: 'launched' })),
    ]);
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([201, 204]));
    assert.deepEqual((await get()).json.options, others, 'a change of state brought no old options back');
  });

  test('two that make the same unit: one makes it, the other is told that it is there', async () => {
    const answers = await Promise.all([put({ name: unit, options: hello }), put({ name: unit, options: hello })]);
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409]);
  });
});

describe('PUT units/NAME with a body that cannot be taken', () => {
  const json = 'application/json';
  for (const { name, type, body, status, message } of [
    { name: 'no JSON', type: json, body: '{', status: 400, message: /^unable to decode body: the body is not JSON/ },
    { name: 'no body', type: json, body: '', status: 400, message: /^unable to decode body: / },
    { name: 'a list', type: json, body: '[]', status: 400, message: /^unable to decode body: / },
    { name: 'options that are none', type: json, body: '{"options":"x"}', status: 400, message: /^unable to decode body: .*options/ },
    {
      name: 'a number for a state',
      type: json,
      body: '{"desiredState":1}',
      status: 400,
      message: /^unable to decode body: .*desiredState/,
    },
    {
      name: 'another name',
      type: json,
      body: '{"name":"other.service"}',
      status: 400,
      message: /"u\d+.service" differs .* "other.service"/,
    },
    { name: 'a form', type: 'application/x-www-form-urlencoded', body: '{}', status: 415, message: /application\/json/ },
    { name: 'text', type: 'text/plain', body: '{}', status: 415, message: /application\/json/ },
    { name: 'almost JSON', type: 'application/json-patch+json', body: '{}', status: 415, message: /application\/json/ },
  ]) {
    test(name, async () => {
      const answer = await rig.call('PUT', `/fleet/v1/units/${unit}`, { body, type });
      assert.equal(answer.status, status, answer.text);
      assert.deepEqual(Object.keys(answer.json.error), ['code', 'message']);
      assert.equal(answer.json.error.code, status);
      assert.match(answer.json.error.message, message);
    });
  }

  test('a character set beside the type is fine, a second type is not, and none is not', async () => {
    const body = JSON.stringify({ options: hello });
    const path = `/fleet/v1/units/${unit}`;
    const length = { 'content-length': Buffer.byteLength(body) };
    assert.equal((await rig.call('PUT', path, { body, type: 'application/json; charset=utf-8' })).status, 201);
    const headers: OutgoingHttpHeaders = { ...length, 'content-type': [json, json] as unknown as string };
    const twice = await rig.call('PUT', path, { body, headers });
    assert.equal(twice.status, 415, twice.text);
    const none = await rig.call('PUT', path, { body, type: '' });
    assert.equal(none.status, 415, none.text);
  });
});

describe('names, in the words of fleet', () => {
  for (const { name, message } of [
    { name: 'x'.repeat(257), message: 'unit name exceeds maximum length (256)' },
    { name: 'hello', message: 'unit name must contain "."' },
    { name: 'hello.', message: 'unit name cannot end in "."' },
    { name: 'hello.sock', message: 'invalid unit type: "sock"' },
    { name: 'hello.scope', message: 'invalid unit type: "scope"' },
    { name: 'hello@1.mount', message: 'invalid unit type for template: "mount"' },
    { name: 'he llo.service', message: "invalid character ' ' in unit name" },
    { name: 'he/llo.service', message: "invalid character '/' in unit name" },
    { name: 'he\nllo.service', message: "invalid character '\\n' in unit name" },
    { name: '@1.service', message: 'unit name cannot start in "@"' },
    { name: '-h.service', message: 'unit name cannot start in "-"' },
  ]) {
    test(message, async () => {
      const { status, json } = await put({ name, options: hello }, name);
      assert.deepEqual([status, json], [400, refusal(400, message)]);
    });
  }
});

describe('options that contradict each other, in the words and the order of fleet', () => {
  const pin = 'MachineID=0123456789abcdef0123456789abcdef';
  for (const { lines, message } of [
    { lines: ['MachineOf=a.service', 'Conflicts=a*'], message: 'unresolvable requirements: peer "a.service" matches conflict "a*"' },
    { lines: ['MachineOf=a.service', 'Replaces=a*'], message: 'unresolvable requirements: peer "a.service" matches replace "a*"' },
    { lines: [pin, 'MachineOf=a.service'], message: 'MachineID cannot be used with Peers' },
    { lines: [pin, 'Conflicts=b*'], message: 'MachineID cannot be used with Conflicts' },
    { lines: [pin, 'Global=true'], message: 'MachineID cannot be used with Global' },
    { lines: [pin, 'Replaces=b*'], message: 'MachineID cannot be used with Replaces' },
    { lines: ['Global=true', 'MachineOf=a.service'], message: 'Global cannot be used with Peers' },
    { lines: ['Global=true', 'Replaces=b*'], message: 'Global cannot be used with Replaces' },
    { lines: ['Conflicts=b*', 'Replaces=c*'], message: 'Conflicts cannot be used with Replaces' },
    // More than one: fleet names the first of its list, however they stand in the file.
    { lines: ['Replaces=c*', 'Conflicts=b*', pin], message: 'MachineID cannot be used with Conflicts' },
  ]) {
    const options = [
      ...hello,
      ...lines.map((line) => ({ section: 'X-Fleet', name: line.split('=')[0], value: line.slice(line.indexOf('=') + 1) })),
    ];
    test(lines.join(', '), async () => {
      const { status, json } = await put({ name: unit, options });
      assert.deepEqual([status, json], [400, refusal(400, message)]);
      // Changed options are looked at like new ones.
      await submit();
      assert.deepEqual((await put({ name: unit, options })).json, refusal(400, message));
      assert.deepEqual((await get()).json.options, hello);
    });
  }
});

describe('options that are malformed', () => {
  const placed = (name: string, value: string) => ({ section: 'X-Fleet', name, value });
  const exec = (value: string) => ({ section: 'Service', name: 'ExecStart', value });
  for (const { name, option, message } of [
    { name: 'metadata without "="', option: placed('MachineMetadata', 'ssd'), message: /expected key=value with one "=", got "ssd"/ },
    { name: 'an unknown placement option', option: placed('Conflict', 'a*'), message: /unknown option "Conflict".*"Conflicts"/ },
    { name: 'a machine id that is none', option: placed('MachineID', 'abc'), message: /expected a machine id/ },
    { name: 'a value that begins another option', option: exec('/bin/true\nUser=root'), message: /cannot be written as one Name=value/ },
    { name: 'a value that begins a section', option: exec('/bin/true\n[Install]'), message: /cannot be written as one Name=value|no "="/ },
    { name: 'a carriage return', option: exec('/bin/true\rUser=root'), message: /cannot be written as one Name=value/ },
    { name: 'a comment in a continuation', option: exec('/bin/echo \\\n# User=root'), message: /cannot be written as one Name=value/ },
    { name: 'a name with "="', option: { section: 'Service', name: 'A=B', value: 'c' }, message: /option "A=B"/ },
    { name: 'a section that ends early', option: { section: 'A]\n[B', name: 'x', value: 'y' }, message: /./ },
    { name: 'no name', option: { section: 'Service', value: 'x' }, message: /./ },
    { name: 'no section', option: { name: 'x', value: 'y' }, message: /./ },
    {
      name: 'a section of another type',
      option: { section: 'Socket', name: 'x', value: 'y' },
      message: /\[Socket\] belongs in a \.socket/,
    },
  ]) {
    test(name, async () => {
      const { status, json } = await put({ name: unit, options: [...hello, option, exec('/bin/true')] });
      assert.equal(status, 400, JSON.stringify(json));
      assert.match(json.error.message, message);
      assert.doesNotMatch(json.error.message, /^line|spec\.|User=root/);
      assert.equal((await get()).status, 404);
    });
  }

  for (const { name, value } of [
    { name: 'a continuation, kept as it is', value: '/bin/echo \\\n  a \\\n  b' },
    { name: 'a dangling continuation', value: '/bin/echo \\\n' },
    { name: 'an escaped backslash at the end of a line', value: '/bin/echo \\\\\n' },
    { name: 'a last backslash', value: '/bin/echo \\' },
    { name: 'a line that was too long for fleet', value: `/bin/echo ${'x'.repeat(3000)}` },
    { name: 'nothing', value: '' },
    { name: 'quotes, specifiers, Unicode', value: '/bin/echo "%i" \'é\' $HOME' },
  ]) {
    test(`and what is not: ${name}`, async () => {
      const options = [exec(value), { section: 'Service', name: 'User', value: 'core' }];
      await submit(options);
      assert.deepEqual((await get()).json.options, options);
      // Twice the same is the same.
      assert.equal((await put({ name: unit, options, desiredState: 'loaded' })).status, 204);
    });
  }
});

describe('DELETE units/NAME', () => {
  test('204, and then 404 to everybody who asks again', async () => {
    await submit();
    const answer = await rig.fleet('DELETE', `units/${unit}`);
    assert.deepEqual([answer.status, answer.text], [204, '']);
    assert.equal((await get()).status, 404);
    const again = await rig.fleet('DELETE', `units/${unit}`);
    assert.deepEqual([again.status, again.json], [404, refusal(404, 'unit does not exist')]);
  });

  test('of a unit that runs: gone from the units at once, from the states when it is', async () => {
    await submit(hello, 'launched');
    await rig.schedule(unit, m1);
    await rig.report(unit, m1);
    assert.equal((await rig.fleet('DELETE', `units/${unit}`)).status, 204);
    assert.equal((await get()).status, 404);
    const listed = (await rig.fleet('GET', 'units')).json.units ?? [];
    assert.ok(!listed.some(({ name }: { name: string }) => name === unit));
    assert.equal((await rig.fleet('GET', `state/${unit}`)).json.systemdActiveState, 'active');
    assert.equal((await rig.fleet('DELETE', `units/${unit}`)).status, 404);
    await rig.finishDeletion(unit, m1);
    assert.equal((await rig.fleet('GET', `state/${unit}`)).status, 404);
  });

  test('and submit again: the new unit is made as soon as the old one is gone', async () => {
    await submit(hello, 'launched');
    await rig.schedule(unit, m1);
    await rig.report(unit, m1);
    await rig.fleet('DELETE', `units/${unit}`);
    const made = put({ name: unit, options: hello });
    let isAnswered = false;
    void made.then(() => {
      isAnswered = true;
    });
    // Not while the old process may still run.
    await rig.report(unit, m1, { active: 'deactivating', sub: 'stop' });
    assert.equal(isAnswered, false);
    await rig.finishDeletion(unit, m1);
    assert.equal((await made).status, 201);
    assert.equal((await get()).json.desiredState, 'inactive');
  });

  test('without options, what is being destroyed is as good as gone', async () => {
    await submit(hello, 'launched');
    await rig.schedule(unit, m1);
    await rig.fleet('DELETE', `units/${unit}`);
    const { status, json } = await put({ name: unit, desiredState: 'launched' });
    assert.deepEqual([status, json], [409, refusal(409, 'unit does not exist and options field empty')]);
    await rig.finishDeletion(unit, m1);
  });

  test('a template that instances without text of their own follow stays, and is told who they are', async () => {
    const template = `t${count}@.service`;
    const follower = `t${count}@1.service`;
    await rig.call('POST', kubernetesUnits, { body: unitBody(template) });
    await rig.call('POST', kubernetesUnits, { body: { ...unitBody(follower), spec: { desiredState: 'inactive' } } });
    const { status, json } = await rig.fleet('DELETE', `units/${encodeURIComponent(template)}`);
    assert.equal(status, 409);
    assert.match(json.error.message, new RegExp(follower.replace('.', '\\.')));
  });
});

describe('a unit that stops sooner than fleet stopped any', () => {
  const asFleetctl = async () =>
    (await rig.get(`/fleet/v1/units/${unit}`, { 'user-agent': 'google-api-go-client/0.5' })).json.currentState as string;
  beforeEach(async () => {
    await submit(hello, 'launched');
    await rig.schedule(unit, m1);
    await rig.report(unit, m1);
    await put({ desiredState: 'loaded' });
    await rig.report(unit, m1, dead);
  });

  test('is launched to the first look of fleetctl, whose restart waits for that, and what it is to the second', async () => {
    assert.deepEqual([await asFleetctl(), await asFleetctl()], ['launched', 'loaded']);
  });

  test('is what it is to everybody else, in lists too', async () => {
    assert.equal((await get()).json.currentState, 'loaded');
    const { units } = (await rig.get('/fleet/v1/units', { 'user-agent': 'google-api-go-client/0.5' })).json;
    assert.equal(units.find(({ name }: { name: string }) => name === unit).currentState, 'loaded');
  });

  test('and an unload after it is no restart', async () => {
    assert.equal(await asFleetctl(), 'launched');
    await put({ desiredState: 'inactive' });
    await rig.unschedule(unit, m1);
    assert.equal(await asFleetctl(), 'inactive');
  });
});

test('the hash of a state is what fleetctl computes from the options', async () => {
  await submit(hello, 'launched');
  await rig.schedule(unit, m1);
  await rig.report(unit, m1);
  assert.equal((await rig.fleet('GET', `state/${unit}`)).json.hash, helloHash);
});

test('SEMANTICS 26: what a GitSync keeps is changed in its repository', async () => {
  const about = { manager: 'ann' };
  const sync = { apiVersion: 'flotilla.dev/v1', kind: 'GitSync', metadata: { name: 'prod' }, spec: { url: 'https://git.example/ops.git' } };
  await rig.door.create('gitsyncs', sync, about);
  await submit(hello, 'launched');
  const keep = (name: string | null) =>
    rig.door.patch('units', unit, { type: 'merge', body: { metadata: { labels: { 'flotilla.dev/gitsync': name } } } }, about);
  await keep('prod');
  const refused = refusal(409, `${unit} is kept by GitSync "prod": change it in its repository`);
  const other = [...hello, { name: 'Restart', section: 'Service', value: 'always' }];
  for (const answer of [
    await put({ name: unit, desiredState: 'loaded' }),
    await put({ name: unit, options: other, desiredState: 'launched' }),
    await rig.fleet('DELETE', `units/${unit}`),
  ]) {
    assert.deepEqual([answer.status, answer.json], [409, refused]);
  }
  assert.equal((await put({ name: unit, options: hello, desiredState: 'launched' })).status, 204, 'it is so already');

  await keep('gone');
  assert.equal((await put({ name: unit, desiredState: 'loaded' })).status, 204, 'by a GitSync that is no more');
  await keep(null);
  assert.equal((await rig.fleet('DELETE', `units/${unit}`)).status, 204);
});

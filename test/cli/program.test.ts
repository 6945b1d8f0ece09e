/** The command line against a small stand-in server: what is sent, what is printed where, and the exit code. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const main = resolve(dirname(fileURLToPath(import.meta.url)), '../../cli/main.ts');

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const resources = {
  kind: 'APIResourceList',
  resources: [
    { name: 'units', singularName: 'unit', kind: 'Unit', verbs: ['get', 'list', 'watch', 'delete', 'patch'], shortNames: ['un'] },
    { name: 'machines', singularName: 'machine', kind: 'Machine', verbs: ['get', 'list', 'delete', 'patch'] },
  ],
};

describe('the command line', () => {
  let server: Server;
  let folder: string;
  let socket: string;
  let seen: { method: string; url: string }[] = [];
  let answer: (request: IncomingMessage) => { status?: number; headers?: Record<string, string>; body: unknown } = () => ({
    status: 404,
    body: {},
  });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'flotilla-cli-'));
    socket = join(folder, 's.sock');
    server = createServer((request, response) => {
      const url = request.url ?? '';
      seen.push({ method: request.method ?? '', url });
      request.resume();
      const {
        status = 200,
        headers = {},
        body,
      } = url === '/apis/flotilla.dev/v1'
        ? { body: resources }
        : url === '/api/v1'
          ? { body: { resources: [{ name: 'events', singularName: 'event', kind: 'Event', verbs: ['list'] }] } }
          : answer(request);
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify(body));
    });
    await new Promise<void>((done) => server.listen(socket, done));
  });
  after(async () => {
    server.close();
    await rm(folder, { recursive: true, force: true });
  });

  const flotilla = (args: readonly string[], input = ''): Promise<Outcome> =>
    new Promise((done) => {
      seen = [];
      const child = spawn(process.execPath, ['--import', 'tsx', main, ...args], {
        env: { ...process.env, FLOTILLA_ENDPOINT: `unix://${socket}`, NO_COLOR: '1' },
      });
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', (chunk) => (stdout += chunk));
      child.stderr.on('data', (chunk) => (stderr += chunk));
      child.on('close', (code) => done({ code: code ?? -1, stdout, stderr }));
      child.stdin.end(input);
    });

  const notFound = {
    status: 404,
    body: { kind: 'Status', reason: 'NotFound', message: 'units.flotilla.dev "x.service" not found', code: 404 },
  };

  test('a list goes to stdout as a table, by short name too', async () => {
    answer = () => ({
      body: {
        kind: 'Table',
        metadata: {},
        columnDefinitions: [
          { name: 'Name', priority: 0 },
          { name: 'Hash', priority: 1 },
          { name: 'Age', priority: 0 },
        ],
        rows: [{ cells: ['a.service', 'abc', '5s'], object: { metadata: { name: 'a.service' } } }],
      },
    });
    assert.deepEqual(await flotilla(['get', 'un']), { code: 0, stdout: 'NAME        AGE\na.service   5s\n', stderr: '' });
    assert.deepEqual(await flotilla(['get', 'units', '-o', 'wide', '--no-headers']), {
      code: 0,
      stdout: 'a.service   abc   5s\n',
      stderr: '',
    });
  });

  test("the server's refusal is its sentence on stderr, exit 1", async () => {
    answer = () => notFound;
    const { code, stdout, stderr } = await flotilla(['get', 'unit', 'x.service']);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
    assert.match(stderr, /NotFound\): units\.flotilla\.dev "x\.service" not found/);
  });

  test('apply prints what became of each, and goes on after a refusal', async () => {
    answer = (request) => {
      if (request.url?.includes('bad.service'))
        return { status: 422, body: { kind: 'Status', reason: 'Invalid', message: 'spec.content: line 2: nonsense', code: 422 } };
      return { status: 201, headers: { 'flotilla-write': 'created' }, body: {} };
    };
    const manifest = (name: string) =>
      `{apiVersion: flotilla.dev/v1, kind: Unit, metadata: {name: ${name}}, spec: {content: "[Service]\\nExecStart=/bin/true\\n"}}`;
    const { code, stdout, stderr } = await flotilla(
      ['apply', '-f', '-'],
      ['good.service', 'bad.service', 'last.service'].map(manifest).join('\n---\n'),
    );
    assert.equal(code, 1);
    assert.equal(stdout, 'unit/good.service created\nunit/last.service created\n');
    assert.match(stderr, /error: standard input:\d+: spec\.content: line 2: nonsense/);
  });

  test('fields that only an imperative verb changed are taken back without a question, others are not', async () => {
    const conflict = (manager: string) => ({
      status: 409,
      body: {
        kind: 'Status',
        reason: 'Conflict',
        code: 409,
        message: 'Apply failed with 1 conflict',
        details: {
          causes: [{ reason: 'FieldManagerConflict', message: `conflict with "${manager}" using flotilla.dev/v1`, field: '.spec' }],
        },
      },
    });
    const manifest =
      '{apiVersion: flotilla.dev/v1, kind: Unit, metadata: {name: a.service}, spec: {content: "[Service]\\nExecStart=/bin/true\\n"}}';
    answer = (request) =>
      request.url?.includes('force=true') ? { headers: { 'flotilla-write': 'configured' }, body: {} } : conflict('flotilla-cli');
    assert.deepEqual(await flotilla(['apply', '-f', '-'], manifest), { code: 0, stdout: 'unit/a.service configured\n', stderr: '' });
    answer = () => conflict('alice');
    const refused = await flotilla(['apply', '-f', '-'], manifest);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /--force-conflicts/);
    assert.equal(
      seen.some(({ url }) => url.includes('force=true')),
      false,
    );
  });

  test('--prune wants a selector, and prunes nothing after an error', async () => {
    assert.equal((await flotilla(['apply', '-f', '-', '--prune'], '')).code, 2);
    answer = () => notFound;
    const { code, stderr } = await flotilla(['apply', '-f', '-', '--prune', '-l', 'app=x'], 'kind: [');
    assert.equal(code, 1);
    assert.match(stderr, /nothing was pruned/);
    assert.equal(
      seen.some(({ method }) => method === 'DELETE'),
      false,
    );
  });

  test('no server: the sentence says what to look at', async () => {
    const { code, stderr } = await flotilla(['--endpoint', 'unix:///nowhere.sock', 'get', 'units']);
    assert.equal(code, 1);
    assert.match(stderr, /cannot reach unix:\/\/\/nowhere\.sock: there is no such socket/);
  });

  test('a wait that is not met in time is exit 124 with the reason', async () => {
    answer = (request) =>
      request.url?.includes('watch=true')
        ? { body: {} }
        : {
            body: {
              metadata: { resourceVersion: '1' },
              items: [
                {
                  metadata: { name: 'a.service', generation: 1 },
                  status: {
                    observedGeneration: 1,
                    conditions: [{ type: 'Ready', status: 'False', reason: 'Failed', message: 'its process exited with status 7' }],
                  },
                },
              ],
            },
          };
    const { code, stderr } = await flotilla(['wait', '--for=condition=Ready', 'unit/a.service', '--timeout=3s']);
    assert.equal(code, 124);
    assert.match(stderr, /its process exited with status 7/);
  });
});

/** The command line against a small stand-in server: what is sent, what is printed where, and the exit code. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { run } from '../../cli/roles/dev/run.js';
import { CommandLine, type Ran } from '../rigs/command-line.js';
import { sourceArgs } from '../rigs/source-process.js';

const resources = {
  kind: 'APIResourceList',
  resources: [
    { name: 'units', singularName: 'unit', kind: 'Unit', verbs: ['get', 'list', 'watch', 'delete', 'patch'], shortNames: ['un'] },
    { name: 'gitsyncs', singularName: 'gitsync', kind: 'GitSync', verbs: ['get', 'list', 'patch'] },
    { name: 'machines', singularName: 'machine', kind: 'Machine', verbs: ['get', 'list', 'delete', 'patch'] },
  ],
};

/** The answer to an apply: a line for each line that was sent. */
const answerLines = (sent: string, lineFor: (name: string) => object) => ({
  body: sent
    .trim()
    .split('\n')
    .map((line) => `${JSON.stringify(lineFor((JSON.parse(line) as { metadata: { name: string } }).metadata.name))}\n`)
    .join(''),
});

describe('the command line', () => {
  let server: Server;
  let folder: string;
  let socket: string;
  let commandLine: CommandLine;
  let seen: { method: string; url: string }[] = [];
  let answer: (request: IncomingMessage, sent: string) => { status?: number; headers?: Record<string, string>; body: unknown } = () => ({
    status: 404,
    body: {},
  });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'flotilla-cli-'));
    socket = join(folder, 's.sock');
    server = createServer(async (request, response) => {
      const url = request.url ?? '';
      seen.push({ method: request.method ?? '', url });
      const sent = await text(request);
      const {
        status = 200,
        headers = {},
        body,
      } = url === '/apis/flotilla.dev/v1'
        ? { body: resources }
        : url === '/api/v1'
          ? { body: { resources: [{ name: 'events', singularName: 'event', kind: 'Event', verbs: ['list'] }] } }
          : answer(request, sent);
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    });
    await new Promise<void>((done) => server.listen(socket, done));
    commandLine = new CommandLine({ endpoint: `unix://${socket}`, cwd: folder });
  });
  after(async () => {
    await commandLine.end();
    server.close();
    await rm(folder, { recursive: true, force: true });
  });

  const flotilla = (args: readonly string[], input = ''): Promise<Ran> => {
    seen = [];
    return commandLine.run(args, { input });
  };

  /** The same in a process of its own, from its first line to its exit code. */
  async function flotillaItself(args: readonly string[]): Promise<Ran> {
    const env = { ...process.env, FLOTILLA_ENDPOINT: `unix://${socket}`, NO_COLOR: '1' };
    const { code, stdout, stderr } = await run(process.execPath, [...sourceArgs('cli/main.ts'), ...args], { env });
    return { code, stdout, stderr };
  }

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
    assert.deepEqual(await flotillaItself(['get', 'un']), { code: 0, stdout: 'NAME        AGE\na.service   5s\n', stderr: '' });
    assert.deepEqual(await flotilla(['get', 'units', '-o', 'wide', '--no-headers']), {
      code: 0,
      stdout: 'a.service   abc   5s\n',
      stderr: '',
    });
  });

  test("the server's refusal is its sentence on stderr, exit 1", async () => {
    answer = () => notFound;
    const { code, stdout, stderr } = await flotillaItself(['get', 'unit', 'x.service']);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
    assert.match(stderr, /NotFound\): units\.flotilla\.dev "x\.service" not found/);
  });

  test('apply prints what became of each, and goes on after a refusal', async () => {
    const refusal = { kind: 'Status', reason: 'Invalid', message: 'spec.content: line 2: nonsense', code: 422 };
    answer = (_request, sent) => answerLines(sent, (name) => (name === 'bad.service' ? { status: refusal } : { effect: 'created' }));
    const manifest = (name: string) =>
      `{apiVersion: flotilla.dev/v1, kind: Unit, metadata: {name: ${name}}, spec: {content: "[Service]\\nExecStart=/bin/true\\n"}}`;
    const { code, stdout, stderr } = await flotilla(
      ['apply', '-f', '-'],
      ['good.service', 'bad.service', 'last.service'].map(manifest).join('\n---\n'),
    );
    assert.equal(code, 1);
    assert.equal(stdout, 'unit/good.service created\nunit/last.service created\n');
    assert.match(stderr, /flotilla: standard input:\d+: spec\.content: line 2: nonsense/);
    assert.deepEqual(
      seen.map(({ method, url }) => `${method} ${url}`),
      ['POST /apis/flotilla.dev/v1/apply?fieldManager=flotilla&fieldValidation=Strict&force=false'],
    );
  });

  test('apply tells when the server answers less than it was sent', async () => {
    answer = () => ({ body: '' });
    const manifest =
      '{apiVersion: flotilla.dev/v1, kind: Unit, metadata: {name: a.service}, spec: {content: "[Service]\\nExecStart=/bin/true\\n"}}';
    const { code, stdout, stderr } = await flotilla(['apply', '-f', '-'], manifest);
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /answered 0 of 1 objects/);
  });

  test('what the server warns of is told with the place of the object', async () => {
    answer = (_request, sent) =>
      answerLines(sent, () => ({ effect: 'created', warnings: ['spec.content: line 2: did you mean "Restart"?'] }));
    const manifest = '---\n{apiVersion: flotilla.dev/v1, kind: Unit, metadata: {name: a.service}, spec: {content: "[Service]\\nA=b\\n"}}';
    assert.deepEqual(await flotilla(['apply', '-f', '-'], manifest), {
      code: 0,
      stdout: 'unit/a.service created\n',
      stderr: 'flotilla: standard input:2: warning: spec.content: line 2: did you mean "Restart"?\n',
    });
  });

  test('what a manifest says of an object is no matter when the object is to be deleted', async () => {
    answer = () => ({ body: { kind: 'Status', status: 'Success' } });
    const manifest = '{apiVersion: flotilla.dev/v1, kind: Unit, metadata: {name: a.service}, spec: {desierdState: x, content: "nonsense"}}';
    assert.deepEqual(await flotilla(['delete', '-f', '-'], manifest), { code: 0, stdout: 'unit/a.service deleted\n', stderr: '' });
    const nameless = await flotilla(['delete', '-f', '-'], `${manifest}\n---\n{apiVersion: flotilla.dev/v1, kind: Unit}`);
    assert.equal(nameless.code, 1);
    assert.match(nameless.stderr, /metadata\.name: is required/);
    assert.equal(
      seen.some(({ method }) => method === 'DELETE'),
      false,
    );
  });

  test('a unit without its type is a service', async () => {
    answer = () => ({ body: unit('web.service') });
    assert.equal((await flotilla(['get', 'unit/web', '-o', 'name'])).stdout, 'unit/web.service\n');
    assert.ok(seen.some(({ url }) => url.startsWith('/apis/flotilla.dev/v1/units/web.service')));
    await flotilla(['get', 'unit', 'web.timer', '-o', 'name']);
    assert.ok(seen.some(({ url }) => url.startsWith('/apis/flotilla.dev/v1/units/web.timer')));
  });

  test('diff that cannot tell ends with 2: 1 says that something differs', async () => {
    answer = () => notFound;
    for (const words of [
      ['--git', 'prod'],
      ['-f', join(folder, 'missing.yaml')],
    ]) {
      const { code, stdout, stderr } = await flotilla(['diff', ...words]);
      assert.deepEqual([code, stdout], [2, ''], stderr);
      assert.notEqual(stderr, '');
    }
  });

  test('a unit file on standard input has no name, and the sentence says what to do', async () => {
    const { code, stderr } = await flotilla(['apply', '-f', '-'], '# ours\n[Service]\nExecStart=/bin/true\n');
    assert.equal(code, 2);
    assert.match(stderr, /^flotilla: standard input is a unit file, which has its name from its file/);
  });

  test('fields that only an imperative verb changed are taken back without a question, others are not', async () => {
    const conflict = (manager: string) => ({
      status: {
        kind: 'Status',
        reason: 'Conflict',
        code: 409,
        message: 'Apply failed with 1 conflict',
        details: {
          causes: [{ reason: 'FieldManagerConflict', message: `conflict with "${manager}" using flotilla.dev/v1`, field: '.spec' }],
        },
      },
    });
    const manifest = (name: string) =>
      `{apiVersion: flotilla.dev/v1, kind: Unit, metadata: {name: ${name}}, spec: {content: "[Service]\\nExecStart=/bin/true\\n"}}`;
    answer = (request, sent) =>
      answerLines(sent, (name) => {
        if (name === 'b.service') return { effect: 'unchanged' };
        return request.url?.includes('force=true') ? { effect: 'configured' } : conflict('flotilla-cli');
      });
    assert.deepEqual(await flotilla(['apply', '-f', '-'], ['a.service', 'b.service', 'c.service'].map(manifest).join('\n---\n')), {
      code: 0,
      stdout: 'unit/a.service configured\nunit/b.service unchanged\nunit/c.service configured\n',
      stderr: '',
    });
    answer = (_request, sent) => answerLines(sent, () => conflict('alice'));
    const refused = await flotilla(['apply', '-f', '-'], manifest('a.service'));
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

  const unit = (name: string, more: object = {}) => ({ apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name }, ...more });

  test('a well-known kind is asked for at once, without asking for the kinds first', async () => {
    answer = () => ({ body: { metadata: {}, items: [unit('a.service')] } });
    assert.equal((await flotilla(['get', 'un', '-o', 'name'])).stdout, 'unit/a.service\n');
    assert.deepEqual(
      seen.map(({ url }) => url),
      ['/apis/flotilla.dev/v1/units?limit=500'],
    );
  });

  test('an unknown kind names the nearest, or those that there are', async () => {
    assert.match((await flotilla(['get', 'unitz'])).stderr, /no kind "unitz"; did you mean "units"\?/);
    const { code, stderr } = await flotillaItself(['get', 'pods']);
    assert.equal(code, 2);
    assert.match(stderr, /no kind "pods" \(units, gitsyncs, machines, events\)/);
  });

  test('unknown commands, also of token and help, are usage errors with a suggestion', async () => {
    for (const [args, sentence] of [
      [['gte'], 'unknown command "gte"; did you mean "get"? (flotilla --help lists all)'],
      [['token', 'creat'], 'unknown command "creat"; did you mean "create"? (flotilla token --help lists all)'],
      [['help', 'aply'], 'unknown command "aply"; did you mean "apply"? (flotilla --help lists all)'],
    ] as const) {
      assert.deepEqual(await flotilla(args), { code: 2, stdout: '', stderr: `flotilla: ${sentence}\n` });
    }
    assert.match((await flotilla(['--version'])).stdout, /^\S+\n$/);
  });

  test('a machine may be named by its hostname or the beginning of its id', async () => {
    const id = 'b5f4210f4ceeef3fde8f7c236ee09942';
    const machine = { apiVersion: 'flotilla.dev/v1', kind: 'Machine', metadata: { name: id }, status: { info: { hostname: 'm3' } } };
    answer = (request) => ({ body: request.url?.includes(id) ? machine : { metadata: {}, items: [machine] } });
    for (const word of ['m3', 'b5f4', id]) assert.equal((await flotilla(['get', 'machine', word, '-o', 'name'])).stdout, `machine/${id}\n`);
    const { code, stderr } = await flotilla(['get', 'machine', 'm4']);
    assert.deepEqual(
      { code, stderr },
      { code: 1, stderr: 'flotilla: machine "m4" is not known; "flotilla get machines" lists those that are\n' },
    );
  });

  test('who owns which field is shown only when asked for', async () => {
    answer = () => ({ body: { ...unit('a.service'), metadata: { name: 'a.service', managedFields: [{ manager: 'flotilla' }] } } });
    assert.doesNotMatch((await flotilla(['get', 'unit', 'a.service', '-o', 'yaml'])).stdout, /managedFields/);
    assert.match((await flotilla(['get', 'unit', 'a.service', '-o', 'yaml', '--show-managed-fields'])).stdout, /managedFields/);
  });

  test('describe says first, and once, what is not happening', async () => {
    const said = { status: 'False', reason: 'Unschedulable', message: 'no machine fits.', lastTransitionTime: '2026-01-01T00:00:00Z' };
    const conditions = ['Scheduled', 'Ready', 'UpToDate'].map((type) => ({ type, ...said }));
    answer = (request) =>
      request.url?.endsWith('/units/a.service')
        ? { body: unit('a.service', { status: { conditions } }) }
        : { body: { metadata: {}, items: [] } };
    const { stdout } = await flotilla(['describe', 'unit', 'a.service']);
    const [, , , title, sentence] = stdout.split('\n');
    assert.deepEqual([title, sentence], ['Not as it should be:', '  Scheduled, Ready, UpToDate: no machine fits.']);
    assert.equal(stdout.match(/no machine fits/g)?.length, 2, 'there, and in the table of conditions');
  });

  test('a template is not in trouble for being on no machine', async () => {
    const said = { reason: 'Template', message: 'It is a template.', lastTransitionTime: '2026-01-01T00:00:00Z' };
    const conditions = [
      { type: 'Scheduled', status: 'False', ...said },
      { type: 'Ready', status: 'True', ...said },
    ];
    answer = (request) =>
      request.url?.endsWith('/units/a@.service')
        ? { body: unit('a@.service', { status: { conditions } }) }
        : { body: { metadata: {}, items: [] } };
    assert.doesNotMatch((await flotilla(['describe', 'unit', 'a@.service'])).stdout, /Not as it should be/);
  });

  test('journals of several machines are merged by time, and a continued line stays with its first', async () => {
    const place = (machine: string) => ({ metadata: { name: machine }, spec: { unit: 'a.service', machine } });
    const journals: Record<string, string> = {
      one: '2026-01-01T00:00:01+0000 one a[1]: first\n    and more of it\n2026-01-01T00:00:03+0000 one a[1]: third\n',
      two: '2026-01-01T00:00:02+0000 two a[1]: second\n',
    };
    answer = (request) => {
      const machine = new URL(request.url ?? '', 'http://x').searchParams.get('machine');
      return machine ? { body: journals[machine] } : { body: { metadata: {}, items: [place('one'), place('two')] } };
    };
    assert.equal((await flotilla(['logs', 'a.service'])).stdout.replace(/^.*a\[1\]: /gm, ''), 'first\n    and more of it\nsecond\nthird\n');
  });

  test('a watch begins with a whole list, and says nothing twice', async () => {
    const columnDefinitions = [
      { name: 'Name', priority: 0 },
      { name: 'Active', priority: 0 },
      { name: 'Age', priority: 0 },
    ];
    const row = (name: string, ...cells: string[]) => ({ cells: [name, ...cells], object: { metadata: { name } } });
    const table = (...rows: object[]) => ({ kind: 'Table', metadata: { resourceVersion: '7' }, columnDefinitions, rows });
    const event = (type: string, ...rows: object[]) => JSON.stringify({ type, object: { ...table(...rows), columnDefinitions: null } });
    answer = (request) =>
      request.url?.includes('watch=true')
        ? {
            body: [
              event('MODIFIED', row('a.service', 'active', '6s')),
              event('MODIFIED', row('a.service', 'failed', '7s')),
              event('DELETED', row('a.service', 'failed', '8s')),
              '',
            ].join('\n'),
          }
        : { body: table(row('a.service', 'active', '5s'), row('long-name.service', 'active', '5s')) };
    const { stdout } = await flotilla(['get', 'units', '-w']);
    assert.equal(
      stdout,
      [
        'NAME                ACTIVE   AGE',
        'a.service           active   5s',
        'long-name.service   active   5s',
        'a.service           failed   7s',
        'a.service           failed   8s    (deleted)',
        '',
      ].join('\n'),
    );
    assert.match(seen.at(-1)?.url ?? '', /resourceVersion=7/);
  });

  test('no server: the sentence says what to look at', async () => {
    const { code, stderr } = await flotilla(['--endpoint', 'unix:///nowhere.sock', 'get', 'units']);
    assert.equal(code, 1);
    assert.match(stderr, /cannot reach unix:\/\/\/nowhere\.sock: there is no such socket/);
  });

  test('a wait that is not met in time is exit 124 with the reason', async () => {
    answer = (request) =>
      request.url?.includes('watch=true')
        ? { status: 410, body: { kind: 'Status', reason: 'Expired', message: 'too old resource version', code: 410 } }
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

  const set = { kind: 'UnitSet', metadata: { name: 'web', resourceVersion: '8' }, spec: { replicas: 2 } };

  test('scale sends the number alone, to the scale of each object', async () => {
    answer = () => ({ body: set });
    assert.deepEqual(await flotilla(['scale', 'unitset/web', 'us/api', '--replicas=3']), {
      code: 0,
      stdout: 'unitset/web scaled\nunitset/web scaled\n',
      stderr: '',
    });
    const writes = seen.filter(({ method }) => method === 'PATCH').map(({ url }) => url);
    assert.deepEqual(writes, [
      '/apis/flotilla.dev/v1/unitsets/web/scale?fieldManager=flotilla-cli',
      '/apis/flotilla.dev/v1/unitsets/web/scale?fieldManager=flotilla-cli',
    ]);
  });

  test('scale: another number than expected, and a kind that has none, are sentences; no number, or none that is one, is wrong usage', async () => {
    answer = (request) =>
      request.url?.includes('/scale') ? { status: 404, body: { kind: 'Status', message: 'no', code: 404 } } : { body: set };
    for (const [args, code, sentence] of [
      [['unitset/web', '--replicas=3', '--current-replicas=5'], 1, /unitset\/web has 2 replicas, not 5: it was not scaled/],
      [['unit/web', '--replicas=3'], 1, /unit\/web: units have no number of replicas/],
      [['unitset/web'], 2, /--replicas/],
      [['unitset/web', '--replicas=many'], 2, /expected a whole number/],
      [['unitset', '--replicas=1'], 2, /which unitset\? Give names/],
    ] as const) {
      const outcome = await flotilla(['scale', ...args]);
      assert.deepEqual([outcome.code, outcome.stdout], [code, ''], args.join(' '));
      assert.match(outcome.stderr, sentence);
    }
  });

  test('SEMANTICS 26: scale leaves alone what a GitSync keeps, unless it is told otherwise', async () => {
    answer = () => ({ body: { ...set, metadata: { ...set.metadata, labels: { 'flotilla.dev/gitsync': 'infra' } } } });
    const refused = await flotilla(['scale', 'unitset/web', '--replicas=3']);
    assert.deepEqual([refused.code, seen.filter(({ method }) => method === 'PATCH').length], [1, 0]);
    assert.match(refused.stderr, /web is kept by GitSync "infra"/);
    const forced = await flotilla(['scale', 'unitset/web', '--replicas=3', '--force']);
    assert.deepEqual([forced.code, forced.stdout], [0, 'unitset/web scaled\n']);
  });

  for (const [cascade, policy] of [
    ['background', 'Background'],
    ['foreground', 'Foreground'],
    ['orphan', 'Orphan'],
  ] as const) {
    test(`delete --cascade=${cascade} asks for ${policy}`, async () => {
      let body = '';
      answer = (_request, sent) => {
        body = sent;
        return { body: { kind: 'Status', status: 'Success' } };
      };
      assert.equal((await flotilla(['delete', 'unitset', 'web', `--cascade=${cascade}`])).code, 0);
      assert.equal(JSON.parse(body).propagationPolicy, policy);
    });
  }

  test('SEMANTICS 26: delete leaves what a GitSync keeps, all of the words with it, unless forced', async () => {
    const labels = { 'flotilla.dev/gitsync': 'prod' };
    answer = ({ method, url = '' }) =>
      method === 'GET'
        ? { body: { kind: 'Unit', metadata: { name: 'web.service', ...(url.endsWith('/web.service') && { labels }) } } }
        : { body: { kind: 'Status', status: 'Success' } };
    const deletions = () => seen.filter(({ method }) => method === 'DELETE').length;
    const refused = await flotilla(['delete', 'unit', 'free.service', 'web.service']);
    assert.deepEqual([refused.code, refused.stdout, deletions()], [1, '', 0]);
    assert.match(refused.stderr, /web\.service is kept by GitSync "prod".*--force/);
    const forced = await flotilla(['delete', 'unit', 'web.service', '--force']);
    assert.deepEqual([forced.code, forced.stdout, deletions()], [0, 'unit/web.service deleted\n', 1]);
    assert.match(forced.stderr, /will be made anew at the next sync/);
  });

  test('delete --cascade knows three words', async () => {
    const { code, stderr } = await flotilla(['delete', 'unitset', 'web', '--cascade=all']);
    assert.equal(code, 2);
    assert.match(stderr, /background, foreground, orphan/);
  });
});

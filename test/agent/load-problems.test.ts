import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadProblems, readProblems } from '../../agent/load-problems.js';

test('the lines about the file, without its name, once each, three at most', () => {
  const path = '/run/systemd/system/web.service';
  const output = [
    "/run/systemd/system/web.service:4: Unknown key 'ExecStrt' in section [Service], ignoring.",
    "/run/systemd/system/web.service:4: Unknown key 'ExecStrt' in section [Service], ignoring.",
    '/usr/lib/systemd/system/other.service:9: Unknown key',
    'web.service: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.',
    'Unit web.service has a bad unit file setting.',
  ].join('\n');
  assert.equal(
    readProblems(output, path),
    "line 3: Unknown key 'ExecStrt' in section [Service], ignoring; Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing",
  );
  assert.equal(
    readProblems(['2', '3', '4', '5'].map((line) => `${path}:${line}: no`).join('\n'), path),
    'line 1: no; line 2: no; line 3: no',
  );
  assert.equal(readProblems('Unit web.service has a bad unit file setting.', path), undefined);
});

test('what the real program says of a real file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-verify-'));
  try {
    const path = join(folder, 'web.service');
    await writeFile(path, '# the line of ours\n[Service]\nExecStrt=/bin/true\n');
    assert.match((await loadProblems(path, false)) ?? '', /^line 2: Unknown key.*ExecStrt.*; Service has no ExecStart=/);
    await writeFile(path, '[Service]\nExecStart=/bin/true\n');
    assert.equal(await loadProblems(path, false), undefined);
  } finally {
    await rm(folder, { recursive: true });
  }
});

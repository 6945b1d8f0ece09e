/** The session of fleetctl that its users know, typed anew: the same words, the same columns, the same exit codes, and honest ones where fleet's were not. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FleetRig, unitFile } from './rig.js';

const here = dirname(fileURLToPath(import.meta.url));
/** What cannot be told in advance. */
const anyMachine = /00000000\.\.\.\/10\.77\.0\.[123]/g;

type Entry =
  | { readonly do: 'edit'; readonly file: string }
  | { readonly do: 'run'; readonly line: string; stdout: string; stderr: string; code: number };

function* entries(text: string): Generator<Entry> {
  let open: Extract<Entry, { do: 'run' }> | undefined;
  for (const line of text.split('\n').slice(0, -1)) {
    if (line.startsWith('#')) continue;
    else if (line.startsWith('$ ')) open = { do: 'run', line: line.slice(2), stdout: '', stderr: '', code: -1 };
    else if (line.startsWith('= ')) {
      yield { ...open!, code: Number(line.slice(2)) };
      open = undefined;
    } else if (line.startsWith('> ')) open!.stderr += `${line.slice(2)}\n`;
    else if (open) open.stdout += `${line}\n`;
    else yield { do: 'edit', file: line.replace('edit ', '') };
  }
}

describe('a session of fleetctl', () => {
  let rig: FleetRig;
  before(async () => {
    rig = await FleetRig.start();
    await rig.write('hello.service', unitFile('/bin/sleep infinity'));
    await rig.write('hello@.service', unitFile('/bin/sleep infinity').replace('Hello', 'Hello %i'));
    await rig.write('other.service', unitFile('/bin/sleep 1000'));
    await rig.write('g.service', '[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nGlobal=true\n');
  });
  after(() => rig.end());

  for (const entry of entries(readFileSync(join(here, 'transcript.txt'), 'utf8'))) {
    if (entry.do === 'edit') {
      test(`somebody edits ${entry.file}`, () => rig.write(entry.file, unitFile('/bin/sleep 2000')));
      continue;
    }
    const { line, ...expected } = entry;
    test(`$ fleetctl ${line}`, async () => {
      const { code, stdout, stderr } = await rig.run(line);
      // A busy computer makes a verb say what it waits for; that is no part of the session.
      const talk = stderr.replace(/^[\w@]+\.service: .*\n/gm, '');
      assert.deepEqual({ do: 'run', code, stdout: stdout.replace(anyMachine, 'MACHINE'), stderr: talk }, expected);
    });
  }

  test('a process that was destroyed is gone, and the unit that was replaced began twice', () => {
    for (const unit of ['hello.service', 'hello@1.service', 'g.service', 'other.service'])
      assert.deepEqual(rig.pids(unit), [undefined, undefined, undefined]);
    assert.equal(rig.starts('other.service'), 2);
    for (const { systemd } of rig.live.machines) assert.deepEqual(systemd.violations, []);
  });
});

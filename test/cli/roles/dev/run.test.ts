import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must, run } from '../../../../cli/roles/dev/run.js';

test('what a command said and how it ended, whichever way that was', async () => {
  assert.deepEqual(await run('sh', ['-c', 'cat; echo no >&2; exit 3'], { input: 'yes' }), { code: 3, stdout: 'yes', stderr: 'no\n' });
  await assert.rejects(must('sh', ['-c', 'echo no >&2; exit 3']), /exit 3: no$/);
});

test('a command that takes too long ends with 124, also when somebody whom it started holds its output open', async () => {
  const { code, stdout } = await run('sh', ['-c', 'echo begun; sleep 30 & echo $!; wait'], { timeoutMs: 500 });
  const [begun, pid] = stdout.split('\n');
  assert.deepEqual([code, begun], [124, 'begun']);
  process.kill(Number(pid));
});

// Runs test files with Node's own runner and counts; started by test.mjs as a process of its own, because Node 20 hands its own
// `--import` on to the test processes and takes it from nowhere else. Machines, etcds and measurements would disturb each other, so the
// files of test/e2e and test/invariants run one after another, after everything else. A skipped or todo test is a failure: a skipped check
// is no check.
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

const fileLimitMs = 10 * 60_000;
const files = process.argv.slice(2);
const isAlone = (file) => /\/test\/(e2e|invariants)\//.test(file);
const counts = { passed: 0, failed: 0 };
const failures = [];

for (const [batch, concurrency] of [
  [files.filter((file) => !isAlone(file)), 2],
  [files.filter(isAlone), 1],
]) {
  if (batch.length === 0) continue;
  const stream = run({ files: batch, concurrency, timeout: fileLimitMs });
  stream.on('test:pass', (event) => {
    if (event.details.type === 'suite') return;
    if (event.skip === undefined && event.todo === undefined) counts.passed += 1;
    else {
      counts.failed += 1;
      failures.push(`${event.name}: skipped`);
    }
  });
  stream.on('test:fail', (event) => {
    if (event.details.error?.failureType === 'subtestsFailed') return;
    counts.failed += 1;
    failures.push(`${event.file ?? ''}: ${event.name}`);
  });
  await new Promise((resolve, reject) => {
    const text = stream.compose(new spec());
    text.on('error', reject);
    text.on('end', resolve);
    text.pipe(process.stdout, { end: false });
  });
}
if (failures.length > 0) process.stdout.write(`\nfailed:\n${failures.map((line) => `  ${line}`).join('\n')}\n`);
process.send?.(counts);

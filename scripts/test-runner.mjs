// Runs bundled test files with Node's own runner and counts; started by test.mjs as a process of its own, with the flags that the test
// processes are to have. Files with machines and etcds of their own (test/e2e, test/invariants) go two at a time, since they mostly wait: for
// leases to end and machines to boot. Beside them the others go one at a time, and use what is left of the processors. A skipped or todo test
// is a failure: a skipped check is no check.
import { basename } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

const fileLimitMs = 10 * 60_000;
const files = process.argv.slice(2);
const hasMachines = (file) => /\/test\/(e2e|invariants)\//.test(file);
/** First, so that none of them is left alone at the end. */
const longest = [
  'control-plane',
  'placement',
  'failover',
  'kubectl',
  'servers',
  'fleet',
  'trust',
  'tutorials',
  'gitsync',
  'start',
  'remote',
];
const rank = (file) => {
  const at = longest.indexOf(basename(file, '.test.mjs'));
  return at === -1 ? longest.length : at;
};
/** A file that fails as a whole is named by its bundle. */
const inSources = (text) => text.replaceAll(`${process.env.FLOTILLA_TEST_BUNDLES}/`, '').replaceAll('.test.mjs', '.test.ts');
const counts = { passed: 0, failed: 0 };
const failures = [];

/** Runs files; what is counted is counted at once, and `print` prints all that was said, or is still to be said. */
function start(batch, concurrency) {
  if (batch.length === 0) return { print: async () => {} };
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
    failures.push(inSources(`${event.file ?? ''}: ${event.name}`));
  });
  return {
    print: () =>
      new Promise((resolve, reject) => {
        const text = stream.compose(new spec());
        text.on('error', reject);
        text.on('end', resolve);
        text.pipe(process.stdout, { end: false });
      }),
  };
}

const withMachines = start(
  files.filter(hasMachines).sort((a, b) => rank(a) - rank(b)),
  2,
);
const others = start(
  files.filter((file) => !hasMachines(file)),
  1,
);
// One after the other, or their lines would mix.
await others.print();
await withMachines.print();
if (failures.length > 0) process.stdout.write(`\nfailed:\n${failures.map((line) => `  ${line}`).join('\n')}\n`);
process.send?.(counts);

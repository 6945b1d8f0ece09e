// What the test files cost. Loaded into every test process, it leaves, as that ends, its wall time and the CPU time of itself and of all
// processes that it has waited for; the runner's parent prints the dearest.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

const shown = 15;
const tickMs = 10;

export const usageFileIn = (directory) => join(directory, 'usage.jsonl');

const { FLOTILLA_TEST_USAGE: report } = process.env;
const file = process.argv[1] ?? '';

if (report !== undefined && file.endsWith('.test.mjs'))
  process.on('exit', () => {
    // After the command's name, which may hold spaces: user and system time, and the same of the children.
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const [user, system, childUser, childSystem] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 15)
      .map((ticks) => Number(ticks) * tickMs);
    const usage = { file, wallMs: Math.round(process.uptime() * 1_000), ownMs: user + system, childMs: childUser + childSystem };
    appendFileSync(report, `${JSON.stringify(usage)}\n`);
  });

const seconds = (ms) => (ms / 1_000).toFixed(1).padStart(6);

/** Lines for a reader: the files that took most CPU, and the sum of all. */
export function dearest(directory) {
  const path = usageFileIn(directory);
  if (!existsSync(path)) return [];
  const usages = readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .sort((a, b) => b.ownMs + b.childMs - (a.ownMs + a.childMs));
  const line = ({ wallMs, ownMs, childMs }, name) => `${seconds(ownMs + childMs)} ${seconds(wallMs)}  ${name}`;
  const sum = (field) => usages.reduce((total, usage) => total + usage[field], 0);
  const all = { wallMs: sum('wallMs'), ownMs: sum('ownMs'), childMs: sum('childMs') };
  const rows = usages.slice(0, shown).map((usage) => line(usage, relative(directory, usage.file).replace(/\.mjs$/, '.ts')));
  return ['', 'seconds of CPU, of wall, and the file:', ...rows, line(all, `all ${usages.length} files`)];
}

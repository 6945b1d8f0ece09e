/** Prometheus' own tool, as a judge of what we expose and of what we ship for it. */
import assert from 'node:assert/strict';
import { run } from '../../cli/roles/dev/run.js';

const timeoutMs = 5 * 60_000;
/** Percent by which the heap grows between collections: each world of a rules test is short, and memory is there. */
const garbageCollection = '800';

/** Fails with promtool's words unless it is content and has nothing to remark. Returns what it printed. */
export async function promtool(args: readonly string[], options: { input?: string; cwd?: string } = {}): Promise<string> {
  const env = { ...process.env, GOGC: garbageCollection };
  const { code, stdout, stderr } = await run('promtool', args, { ...options, env, timeoutMs });
  assert.equal(code, 0, `promtool ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`);
  return stdout + stderr;
}

/** `promtool check metrics` remarks on bad names, missing help, counters without _total and the like, and then fails. */
export async function checkExposition(text: string): Promise<void> {
  assert.equal(await promtool(['check', 'metrics'], { input: text }), '');
}

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Samples of an exposition text. */
export function samplesOf(text: string): Sample[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name = '', labels = '', value = ''] =
        /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? assert.fail(`not a sample: ${line}`);
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', text = '']) => [key, text] as const);
      return { name, labels: Object.fromEntries(pairs), value: Number(value) };
    });
}

/** Names of the metrics that are registered, with samples or without. */
export const familiesOf = (text: string): Set<string> => new Set([...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name = '']) => name));

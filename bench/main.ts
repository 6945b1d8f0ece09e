/** `npm run bench`: every measurement, one table, missed aims included. Arguments choose some of them by name. */
import { fileURLToPath } from 'node:url';
import { renderTable } from '../api/resources/table.js';
import type { Row } from './row.js';

const program = fileURLToPath(new URL('../dist/flotilla.mjs', import.meta.url));

const benches: Readonly<Record<string, () => Promise<Row[]>>> = {
  store: async () => (await import('./store.js')).benchStore(),
  api: async () => (await import('./api.js')).benchApi(program),
  placement: async () => (await import('./placement.js')).benchPlacement(),
  instances: async () => (await import('./instances.js')).benchInstances(program),
  cluster: async () => (await import('./cluster.js')).benchCluster(program),
  gitsync: async () => (await import('./gitsync.js')).benchGitSync(program),
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in benches));
if (unknown.length > 0) {
  process.stderr.write(`bench: no measurement named ${unknown.join(', ')}; there are ${Object.keys(benches).join(', ')}\n`);
  process.exit(2);
}
const rows: Row[] = [];
for (const [name, bench] of Object.entries(benches)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  process.stderr.write(`bench: ${name}\n`);
  rows.push(...(await bench()));
}
const shown = (value: number) => (value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2));
process.stdout.write(
  renderTable(
    ['WHAT', 'MEASURED', 'RATIO', 'AIM', 'IN THE SAME RUN'],
    rows.map((row) => [
      row.name,
      `${shown(row.value)} ${row.unit}`,
      row.ratio === undefined ? '' : row.ratio.toFixed(2),
      row.aim ?? '',
      row.reference ?? '',
    ]),
  ),
);
process.exit(0);

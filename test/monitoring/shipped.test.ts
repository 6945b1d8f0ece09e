/** Alerts and dashboard against Prometheus' own parser and against the metrics that there are. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { printYaml } from '../../api/resources/yaml.js';
import { promtool } from '../rigs/promtool.js';
import {
  alerts,
  alertTests,
  dashboard,
  dashboardQueries,
  directory,
  familyOf,
  knownMetrics,
  labelsIn,
  metricsIn,
  metricsInSource,
  top,
} from './shipped.js';

test('metrics and labels are read out of PromQL', () => {
  for (const [expr, metrics, labels] of [
    ['up{job="a"} == 0', ['up'], ['job']],
    ['sum by (le, x) (rate(h_bucket{code!~"5..|{"}[5m])) / 2e9', ['h_bucket'], ['code', 'le', 'x']],
    ['(a or b{c="d"}) - time() < 7 * 86400', ['a', 'b'], ['c']],
    ['topk(10, a) and on (i) b unless vector(0)', ['a', 'b'], ['i']],
  ] as const) {
    assert.deepEqual({ metrics: metricsIn(expr), labels: labelsIn(expr) }, { metrics: [...metrics], labels: [...labels] }, expr);
  }
});

test('promtool: the rules are valid, and each alert does in its tests what they say', async () => {
  assert.match(await promtool(['check', 'rules', 'flotilla-alerts.yaml'], { cwd: directory }), /SUCCESS: \d+ rules found/);
  assert.match(await promtool(['test', 'rules', 'flotilla-alerts.test.yaml'], { cwd: directory }), /SUCCESS/);
});

test('promtool: the example configuration is valid', async () => {
  await promtool(['check', 'config', '--syntax-only', 'prometheus.yaml'], { cwd: directory });
});

test('every alert is shown to fire and not to fire', () => {
  const cases = alertTests.flatMap((each) => each.alert_rule_test);
  for (const { alert } of alerts) {
    const ofAlert = cases.filter(({ alertname }) => alertname === alert);
    assert.ok(
      ofAlert.some(({ exp_alerts }) => exp_alerts.length > 0),
      `${alert} fires in no test`,
    );
    assert.ok(
      alertTests.some(
        (world) =>
          world.alert_rule_test.some(({ alertname }) => alertname === alert) &&
          world.alert_rule_test.every(({ exp_alerts }) => exp_alerts.length === 0),
      ),
      `${alert} has no world in which it does not fire`,
    );
  }
  const names = new Set(alerts.map(({ alert }) => alert));
  assert.deepEqual(
    cases.map(({ alertname }) => alertname).filter((name) => !names.has(name)),
    [],
    'tests of alerts that do not exist',
  );
});

test('every alert has its paragraph in docs/operations.md', () => {
  const headings = [...readFileSync(join(top, 'docs/operations.md'), 'utf8').matchAll(/^#### (\w+)\n(\S)/gm)].map(
    ([, heading = '']) => heading,
  );
  assert.deepEqual(headings.toSorted(), alerts.map(({ alert }) => alert).toSorted());
  for (const { alert, annotations } of alerts) assert.equal(annotations.runbook, `docs/operations.md#${alert.toLowerCase()}`);
});

test('every query of the dashboard is PromQL', async () => {
  const scratch = await mkdtemp(join(tmpdir(), 'flotilla-queries-'));
  try {
    const rules = dashboardQueries('5m').map(({ expr }, index) => ({ record: `query:${index}`, expr }));
    await writeFile(join(scratch, 'rules.yaml'), printYaml({ groups: [{ name: 'dashboard', rules }] }));
    assert.match(await promtool(['check', 'rules', 'rules.yaml'], { cwd: scratch }), new RegExp(`SUCCESS: ${rules.length} rules found`));
  } finally {
    await rm(scratch, { recursive: true });
  }
});

test('alerts and dashboard name only metrics that the code has', async () => {
  const known = await knownMetrics();
  const asked = [...alerts.map(({ alert, expr }) => ({ of: `alert ${alert}`, expr })), ...dashboardQueries('5m')];
  const unknown = asked.flatMap(({ of, expr }) =>
    metricsIn(expr)
      .filter((name) => !known.has(familyOf(name, known)))
      .map((name) => `${of}: ${name}`),
  );
  assert.deepEqual(unknown, []);
});

test('the names of our metrics are ours, or those that Kubernetes’ controllers have', () => {
  const names = [...metricsInSource().keys()];
  assert.ok(names.length > 50, `only ${names.length} metrics were found in the source: the pattern that finds them is out of date`);
  assert.deepEqual(
    names.filter((name) => !/^(flotilla|workqueue|controller_runtime)_/.test(name)),
    [],
  );
});

test('the dashboard asks one data source, chosen by a variable, and its panels neither overlap nor share an id', () => {
  assert.ok(dashboard.templating.list.some(({ name, type }) => name === 'datasource' && type === 'datasource'));
  const panels = dashboard.panels;
  for (const { title, targets = [] } of panels) {
    for (const { datasource } of targets) assert.match(datasource.uid, /^\$\{datasource\}$/, title);
  }
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const cells = new Map<string, string>();
  for (const { title, gridPos } of panels) {
    assert.ok(gridPos.x + gridPos.w <= 24, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.equal(cells.get(`${x},${y}`), undefined, `${title} lies on ${cells.get(`${x},${y}`)}`);
        cells.set(`${x},${y}`, title);
      }
    }
  }
});

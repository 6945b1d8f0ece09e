/** What lies in manifests/monitoring, and the metrics that the code has, for the tests that compare the two. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { parseYaml } from '../../api/resources/yaml.js';
import { createMetrics } from '../../runtime/metrics.js';
import { familiesOf } from '../rigs/promtool.js';

export const top = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const directory = join(top, 'manifests/monitoring');
export const shipped = (file: string): string => readFileSync(join(directory, file), 'utf8');

const AlertsFile = z.object({
  groups: z.array(
    z.object({
      name: z.string(),
      rules: z.array(
        z.object({
          alert: z.string(),
          expr: z.string(),
          for: z.string().optional(),
          labels: z.object({ severity: z.enum(['critical', 'warning']) }),
          annotations: z.strictObject({ summary: z.string(), description: z.string(), runbook: z.string() }),
        }),
      ),
    }),
  ),
});
export const alerts = AlertsFile.parse(parseYaml(shipped('flotilla-alerts.yaml'))).groups.flatMap(({ rules }) => rules);

const AlertTests = z.object({
  tests: z.array(
    z.object({
      name: z.string(),
      alert_rule_test: z.array(z.object({ eval_time: z.string(), alertname: z.string(), exp_alerts: z.array(z.unknown()) })),
    }),
  ),
});
export const alertTests = AlertTests.parse(parseYaml(shipped('flotilla-alerts.test.yaml'))).tests;

const Dashboard = z.object({
  uid: z.string(),
  title: z.string(),
  templating: z.object({ list: z.array(z.object({ name: z.string(), type: z.string(), definition: z.string().optional() })) }),
  panels: z.array(
    z.object({
      id: z.int(),
      type: z.string(),
      title: z.string(),
      description: z.string().optional(),
      datasource: z.object({ uid: z.string() }).optional(),
      gridPos: z.object({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
      targets: z.array(z.object({ expr: z.string(), legendFormat: z.string(), datasource: z.object({ uid: z.string() }) })).optional(),
    }),
  ),
});
export const dashboard = Dashboard.parse(JSON.parse(shipped('flotilla-dashboard.json')));

export interface Query {
  /** Where it stands, for people. */
  readonly of: string;
  readonly expr: string;
  /** Labels that the panel shows. */
  readonly labels: readonly string[];
}

/** Queries of the dashboard as Prometheus is asked them when everything is selected. */
export function dashboardQueries(rateInterval: string): Query[] {
  const filled = (expr: string) => expr.replaceAll('$__rate_interval', rateInterval).replaceAll(/"\$(machine|unit)"/g, '".*"');
  const ofPanels = dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat }) => ({
      of: `panel ${title}`,
      expr: filled(expr),
      labels: [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = '']) => label),
    })),
  );
  const ofVariables = dashboard.templating.list.flatMap(({ name, definition }) => {
    const [, metric = '', label = ''] = /^label_values\((.+), (\w+)\)$/.exec(definition ?? '') ?? [];
    return metric === '' ? [] : [{ of: `variable ${name}`, expr: `count by (${label}) (${filled(metric)})`, labels: [label] }];
  });
  return [...ofPanels, ...ofVariables];
}

const words = new Set(['and', 'or', 'unless', 'bool', 'offset', 'by', 'without', 'on', 'ignoring', 'group_left', 'group_right']);
const withoutStrings = (expr: string) => expr.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');

/** Names of the metrics that a PromQL expression selects. */
export function metricsIn(expr: string): string[] {
  const bare = withoutStrings(expr)
    .replaceAll(/\{[^}]*\}|\[[^\]]*\]/g, ' ')
    .replaceAll(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ');
  const names = [...bare.matchAll(/(?<![\w.])[a-zA-Z_:][\w:]*(?!\w*\s*\()/g)].map(([name]) => name);
  return [...new Set(names.filter((name) => !words.has(name)))];
}

/** Labels that it matches or groups by. */
export function labelsIn(expr: string): string[] {
  const bare = withoutStrings(expr);
  const matched = [...bare.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*""/g)].map(([, label = '']) => label);
  const grouped = [...bare.matchAll(/\b(?:by|on)\s*\(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(',').map((label) => label.trim()));
  return [...new Set([...matched, ...grouped])];
}

/** The metric behind a name: a histogram has three. */
export const familyOf = (name: string, known: ReadonlySet<string>): string =>
  known.has(name) ? name : name.replace(/_(bucket|count|sum)$/, '');

/** Every metric that the code registers, by the file that names it; read off the source, so that a rename cannot be missed. */
export function metricsInSource(): Map<string, string> {
  const found = new Map<string, string>();
  for (const folder of ['api', 'runtime', 'controllers', 'agent', 'cli']) {
    for (const entry of readdirSync(join(top, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
      const file = join(entry.parentPath ?? entry.path, entry.name);
      const text = readFileSync(file, 'utf8');
      const calls = /\b(?:counter|gauge|histogram|one|observe)\(\s*(?:'(?:gauge|counter)',\s*)?'([a-z]+_[a-z0-9_]+)',/g;
      for (const [, name = ''] of text.matchAll(calls)) found.set(name, file.slice(top.length + 1));
    }
  }
  return found;
}

/** Those, what every program of Node tells, and what Prometheus makes itself. */
export async function knownMetrics(): Promise<Set<string>> {
  const ofEveryProgram = familiesOf(await createMetrics({ component: 'test', version: '0' }).render());
  return new Set([...metricsInSource().keys(), ...ofEveryProgram, 'up']);
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics, noMetrics, sampleValue } from '../../runtime/metrics.js';

const metricsOf = () => createMetrics({ component: 'server', version: '1.2.3', revision: 'abc', process: false });
const samplesOf = (text: string, name: string) => text.split('\n').filter((line) => line.startsWith(name) && !line.startsWith('#'));

for (const { name, given, shown } of [
  { name: 'a number', given: 1.5, shown: 1.5 },
  { name: 'zero, which is known', given: 0, shown: 0 },
  { name: 'a BigInt from D-Bus', given: 12_345n, shown: 12_345 },
  { name: "systemd's 2^64 - 1 as BigInt", given: 18_446_744_073_709_551_615n, shown: undefined },
  { name: "systemd's 2^64 - 1 as float", given: 2 ** 64 - 1, shown: undefined },
  { name: 'NaN', given: Number.NaN, shown: undefined },
  { name: 'infinity', given: Number.POSITIVE_INFINITY, shown: undefined },
  { name: 'nothing', given: undefined, shown: undefined },
]) {
  test(`metrics, SEMANTICS 15: ${name} is ${shown ?? 'an absent sample'}`, async () => {
    assert.equal(sampleValue(given), shown);
    const metrics = metricsOf();
    metrics.gauge('g', 'A gauge.', ['unit']).set({ unit: 'a' }, given);
    metrics.observe('gauge', 'o', 'Observed.', ['unit'], () => [{ labels: { unit: 'a' }, value: given }]);
    metrics.observe('gauge', 'bare', 'Without labels.', [], () => [{ labels: {}, value: given }]);
    const text = await metrics.render();
    const expected = (sample: string) => (shown === undefined ? [] : [`${sample} ${shown}`]);
    assert.deepEqual(samplesOf(text, 'g'), expected('g{unit="a"}'));
    assert.deepEqual(samplesOf(text, 'o'), expected('o{unit="a"}'));
    assert.deepEqual(samplesOf(text, 'bare'), expected('bare'));
  });
}

test('metrics: a gauge whose value is no longer known disappears', async () => {
  const metrics = metricsOf();
  const gauge = metrics.gauge('memory_bytes', 'Memory.', ['unit']);
  gauge.set({ unit: 'a' }, 7);
  gauge.set({ unit: 'a' }, undefined);
  assert.deepEqual(samplesOf(await metrics.render(), 'memory_bytes'), []);
});

test('metrics: observed samples are what their sources say at each scrape, and go with their source', async () => {
  const metrics = metricsOf();
  const units = new Map([['a', 1]]);
  metrics.observe('gauge', 'depth', 'Depth.', ['name'], function* () {
    for (const [name, value] of units) yield { labels: { name }, value };
  });
  const forget = metrics.observe('gauge', 'depth', 'Depth.', ['name'], () => [{ labels: { name: 'other' }, value: 9 }]);
  assert.deepEqual(samplesOf(await metrics.render(), 'depth'), ['depth{name="a"} 1', 'depth{name="other"} 9']);
  units.delete('a');
  units.set('b', 2);
  forget();
  assert.deepEqual(samplesOf(await metrics.render(), 'depth'), ['depth{name="b"} 2']);
});

test('metrics: an observed counter shows the total of its source, not the sum of scrapes', async () => {
  const metrics = metricsOf();
  metrics.observe('counter', 'cpu_seconds_total', 'CPU.', ['unit'], () => [{ labels: { unit: 'a' }, value: 3n }]);
  await metrics.render();
  const text = await metrics.render();
  assert.match(text, /# TYPE cpu_seconds_total counter/);
  assert.deepEqual(samplesOf(text, 'cpu_seconds_total'), ['cpu_seconds_total{unit="a"} 3']);
});

test('metrics: one name used in two places is one metric; with another meaning it is refused', async () => {
  const metrics = metricsOf();
  metrics.counter('adds_total', 'Adds.', ['name']).inc({ name: 'x' });
  metrics.counter('adds_total', 'Adds.', ['name']).inc({ name: 'y' }, 2);
  assert.deepEqual(samplesOf(await metrics.render(), 'adds_total'), ['adds_total{name="x"} 1', 'adds_total{name="y"} 2']);
  assert.throws(() => metrics.gauge('adds_total', 'Adds.', ['name']), /already a counter/);
  assert.throws(() => metrics.counter('adds_total', 'Adds.', ['other']), /already a counter with labels \[name\]/);
});

test('metrics: a counter never goes down and ignores what is unknown', async () => {
  const metrics = metricsOf();
  const counter = metrics.counter('done_total', 'Done.');
  counter.inc({}, 2);
  counter.inc({}, -1);
  counter.inc({}, Number.NaN);
  assert.deepEqual(samplesOf(await metrics.render(), 'done_total'), ['done_total 2']);
});

test('metrics: the build says who it is; process metrics come without the three that promtool rejects', async () => {
  const metrics = createMetrics({ component: 'agent', version: '1.2.3', revision: 'abc' });
  const text = await metrics.render();
  assert.match(
    text,
    new RegExp(`flotilla_build_info\\{component="agent",version="1.2.3",revision="abc",node_version="${process.version}"\\} 1`),
  );
  assert.match(text, /process_resident_memory_bytes \d+/);
  assert.doesNotMatch(text, /nodejs_active_(handles|requests|resources)_total/);
  assert.match(metrics.contentType, /text\/plain/);
});

test('metrics: noMetrics takes everything and shows nothing', async () => {
  noMetrics.counter('a', 'A.').inc({});
  assert.equal(await noMetrics.render(), '');
});

test('metrics: an agent that idles is not woken to measure its event loop', async () => {
  const lag = /^# TYPE nodejs_eventloop_lag\w*/gm;
  const namesOf = async (process: boolean | 'quiet') =>
    (await createMetrics({ component: 'agent', version: '1', process }).render()).match(lag)?.map((line) => line.split(' ')[2]) ?? [];
  assert.deepEqual(await namesOf('quiet'), ['nodejs_eventloop_lag_seconds']);
  assert.ok((await namesOf(true)).includes('nodejs_eventloop_lag_p99_seconds'));
});

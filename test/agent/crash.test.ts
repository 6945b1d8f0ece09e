/** The agent is killed at every single moment of a change, and the next one finishes it: nothing twice, nothing half (invariants 5, 14). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentAssignment } from '../../api/resources/protocol.js';
import { settle } from '../rigs/manual-clock.js';
import { AgentWorld, assignment, service } from './world.js';

/** More turns of the event loop than any of these changes takes; the last ones kill an agent that has finished. */
const moments = 60;

async function killedAt(
  moment: number,
  {
    before,
    after,
    finally: last = after,
  }: Record<'before' | 'after', readonly AgentAssignment[]> & { readonly finally?: readonly AgentAssignment[] },
): Promise<AgentWorld> {
  const world = await AgentWorld.start();
  await world.want(...before);
  world.agent.replace(after);
  for (let turn = 0; turn < moment; turn++) await settle();
  world.killAgent();
  await world.startAgent();
  await world.want(...last);
  await world.rest(60_000);
  return world;
}

const atEveryMoment = (title: string, run: (moment: number) => Promise<void>) =>
  test(title, { timeout: 60_000 }, async () => {
    for (let moment = 0; moment < moments; moment++) await run(moment);
  });

const web = (text = service(), more: Partial<AgentAssignment> = {}) => assignment('web.service', text, more);
const changed = service('ExecStart=/bin/sleep infinity\nNice=5');

atEveryMoment('SEMANTICS 11: killed while it starts a unit: the unit is started exactly once', async (moment) => {
  const world = await killedAt(moment, { before: [], after: [web()] });
  assert.equal(world.systemd.active('web.service'), 'active');
  assert.equal(world.systemd.starts.get('web.service'), 1, `killed after ${moment} turns`);
  assert.deepEqual(world.systemd.violations, []);
});

atEveryMoment('SEMANTICS 11: killed while it starts a unit that fails at once: exactly once, too', async (moment) => {
  const world = await killedAt(moment, { before: [], after: [web(service('ExecStart=/bin/sh -c "exit 3"'))] });
  assert.equal(world.agent.state('web.service')?.active, 'failed');
  assert.equal(world.systemd.starts.get('web.service'), 1, `killed after ${moment} turns`);
});

atEveryMoment('SEMANTICS 12: killed while it changes a text: restarted exactly once, and runs the new one', async (moment) => {
  const world = await killedAt(moment, { before: [web()], after: [web(changed, { generation: 2 })] });
  assert.match(world.systemd.runningText('web.service') ?? '', /Nice=5/);
  assert.equal(world.systemd.starts.get('web.service'), 2, `killed after ${moment} turns`);
  assert.equal(world.agent.state('web.service')?.generation, 2);
  assert.deepEqual(world.systemd.violations, []);
});

atEveryMoment('SEMANTICS 12: killed while it changes a text that is changed back: the old one runs', async (moment) => {
  const world = await killedAt(moment, {
    before: [web()],
    after: [web(changed, { generation: 2 })],
    finally: [web(service(), { generation: 3 })],
  });
  assert.doesNotMatch(world.systemd.runningText('web.service') ?? 'Nice=5', /Nice=5/);
  assert.deepEqual(world.systemd.violations, []);
});

atEveryMoment('killed while it stops what is no longer launched, and it is launched again', async (moment) => {
  const world = await killedAt(moment, { before: [web()], after: [web(service(), { wanted: 'loaded' })], finally: [web()] });
  assert.equal(world.systemd.active('web.service'), 'active', `killed after ${moment} turns`);
});

atEveryMoment('SEMANTICS 11: killed while it carries out a restart request: at most one restart', async (moment) => {
  const world = await killedAt(moment, { before: [web()], after: [web(service(), { restart: 'now' })] });
  assert.equal(world.systemd.active('web.service'), 'active');
  assert.equal(world.systemd.starts.get('web.service'), 2, `killed after ${moment} turns`);
});

atEveryMoment('SEMANTICS 8: killed while it removes a unit: it is gone, file and process', async (moment) => {
  const world = await killedAt(moment, { before: [web()], after: [web(service(), { remove: 'deleted' })] });
  assert.equal(world.systemd.active('web.service'), 'inactive');
  assert.deepEqual([...world.files.entries.keys()], []);
  assert.equal(world.agent.state('web.service')?.gone, true);
  assert.deepEqual(world.systemd.violations, []);
});

atEveryMoment('SEMANTICS 13: killed while it goes back from a text that systemd does not load: the old one runs', async (moment) => {
  const world = await killedAt(moment, { before: [web()], after: [web('[Service]\nType=simple\n', { generation: 2 })] });
  assert.match(world.systemd.runningText('web.service') ?? '', /sleep infinity/, `killed after ${moment} turns`);
  assert.equal(world.agent.state('web.service')?.problem?.reason, 'LoadFailed');
});

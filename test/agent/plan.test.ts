import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plan, type World } from '../../agent/plan.js';
import type { Start, UnitRecord } from '../../agent/records.js';
import type { SeenUnit } from '../../agent/systemd.js';
import { type OwnFile, restartHash, sha256 } from '../../agent/unit-text.js';
import type { AgentAssignment } from '../../api/resources/protocol.js';

const v1 = '[Service]\nExecStart=/bin/one\n';
const v2 = '[Service]\nExecStart=/bin/two\n';
const v1Commented = `# a word about it\n${v1}[X-Fleet]\nMachineMetadata=disk=ssd\n`;
const enabled = `${v1}[Install]\nWantedBy=multi-user.target\n`;

const assignment = (text: string, more: Partial<AgentAssignment> = {}): AgentAssignment => ({
  unit: 'web.service',
  machine: 'm1',
  unitUid: 'u1',
  generation: 1,
  textHash: sha256(text),
  text,
  wanted: 'launched',
  failover: 'atLeastOnce',
  assignedAt: '2026-01-01T00:00:00Z',
  ...more,
});
const file = (text: string, uid = 'u1'): OwnFile => ({ uid, textHash: sha256(text), text });
const start = (text: string, more: Partial<Start> = {}): Start => ({
  uid: 'u1',
  restartHash: restartHash(text),
  boot: 'b1',
  textHash: sha256(text),
  ...more,
});
const startedWith = (text: string, more: Partial<Start> = {}, generation = 1): UnitRecord => ({
  uid: 'u1',
  generation,
  started: start(text, more),
});
const seen = (active: string, sub = active, load = 'loaded'): SeenUnit => ({ id: 'web.service', load, active, sub });
const up = seen('active', 'running');
const failed = seen('failed');
const ended = seen('inactive', 'dead');
const unknown = seen('inactive', 'dead', 'not-found');

const world = (more: Partial<World>): World => ({
  name: 'web.service',
  desired: undefined,
  seen: unknown,
  invocationID: '',
  foreign: undefined,
  file: undefined,
  previous: undefined,
  record: undefined,
  bootID: 'b1',
  mayLeave: true,
  startHeld: undefined,
  isDriftDue: false,
  ...more,
});

const refusedV2 = { uid: 'u1', textHash: sha256(v2), message: 'no ExecStart=' };

const lacked = { reason: 'StartFailed', message: 'job failed' };

const cases: readonly { name: string; given: Partial<World>; steps: readonly string[]; problem?: string }[] = [
  // arriving
  { name: 'first time here', given: { desired: assignment(v1) }, steps: ['stage', 'write', 'start', 'accept'] },
  {
    name: 'first time here, with [Install]',
    given: { desired: assignment(enabled) },
    steps: ['stage', 'link', 'write', 'start', 'accept'],
  },
  {
    name: 'wanted loaded: on disk, not started',
    given: { desired: assignment(v1, { wanted: 'loaded' }) },
    steps: ['stage', 'write', 'accept'],
  },
  {
    name: 'all is well',
    given: { desired: assignment(v1), seen: up, file: file(v1), record: startedWith(v1) },
    steps: [],
  },
  {
    name: 'loaded and all is well',
    given: { desired: assignment(v1, { wanted: 'loaded' }), seen: ended, file: file(v1), record: { uid: 'u1', generation: 1 } },
    steps: [],
  },

  {
    name: 'systemd made it up and things run in it: it gets its file, which systemd has to be told of',
    given: { desired: assignment(v1), seen: up, isMadeUp: true },
    steps: ['stage', 'write', 'reload', 'adopt', 'accept'],
  },

  // SEMANTICS 11: once
  {
    name: 'SEMANTICS 11: it failed, systemd decides whether it starts again',
    given: { desired: assignment(v1), seen: failed, file: file(v1), record: startedWith(v1) },
    steps: [],
  },
  {
    name: 'SEMANTICS 11: it ended, and that is that',
    given: { desired: assignment(v1), seen: ended, file: file(v1), record: startedWith(v1) },
    steps: [],
  },
  {
    name: 'SEMANTICS 11: its start came to nothing, and nothing that it may have lacked has come',
    given: { desired: assignment(v1), seen: ended, file: file(v1), record: { ...startedWith(v1), unstarted: lacked } },
    steps: [],
  },
  {
    name: 'its start came to nothing, and another unit has come',
    given: { desired: assignment(v1), seen: ended, hasNews: true, file: file(v1), record: { ...startedWith(v1), unstarted: lacked } },
    steps: ['start'],
  },
  {
    name: 'its start came to nothing for a reason that another unit does not change',
    given: {
      desired: assignment(v1),
      seen: ended,
      hasNews: true,
      file: file(v1),
      record: { ...startedWith(v1), unstarted: { ...lacked, reason: 'Unsupported' } },
    },
    steps: [],
  },
  {
    name: 'SEMANTICS 11: it ran and failed: another unit that comes does not start it again',
    given: { desired: assignment(v1), seen: failed, hasNews: true, file: file(v1), record: startedWith(v1) },
    steps: [],
  },
  {
    name: 'it runs, and a unit that it wants has come after it was started',
    given: { desired: assignment(v1), seen: up, lateWanted: 'db.service', file: file(v1), record: startedWith(v1) },
    steps: ['startWanted'],
  },
  {
    name: 'SEMANTICS 11: it ended before a unit that it wants came: it is not started for that',
    given: { desired: assignment(v1), seen: ended, lateWanted: 'db.service', file: file(v1), record: startedWith(v1) },
    steps: [],
  },
  {
    name: 'SEMANTICS 11: it failed, then its text changed',
    given: { desired: assignment(v2, { generation: 2 }), seen: failed, file: file(v1), record: startedWith(v1) },
    steps: ['resetFailed', 'stage', 'write', 'reload', 'start', 'accept'],
  },
  {
    name: 'SEMANTICS 11: the machine booted',
    given: { desired: assignment(v1), record: startedWith(v1, { boot: 'b0' }) },
    steps: ['stage', 'write', 'start'],
  },
  {
    name: 'SEMANTICS 11: a restart was asked for while it runs',
    given: { desired: assignment(v1, { restart: 'now' }), seen: up, file: file(v1), record: startedWith(v1) },
    steps: ['stop', 'start'],
  },
  {
    name: 'SEMANTICS 11: a restart was asked for after it had ended',
    given: { desired: assignment(v1, { restart: 'now' }), seen: ended, file: file(v1), record: startedWith(v1) },
    steps: ['start'],
  },
  {
    name: 'SEMANTICS 11: that restart was done',
    given: { desired: assignment(v1, { restart: 'now' }), seen: up, file: file(v1), record: startedWith(v1, { restart: 'now' }) },
    steps: [],
  },
  {
    name: 'SEMANTICS 11: launched, loaded, and launched again is a new launch',
    given: { desired: assignment(v1), seen: ended, file: file(v1), record: { uid: 'u1', generation: 1 } },
    steps: ['start'],
  },
  {
    name: 'SEMANTICS 11: somebody stopped it by hand',
    given: { desired: assignment(v1), seen: ended, file: file(v1), record: startedWith(v1), isDriftDue: true },
    steps: ['start'],
  },
  {
    name: 'SEMANTICS 11: somebody stopped it by hand and started it again',
    given: { desired: assignment(v1), seen: up, file: file(v1), record: startedWith(v1), isDriftDue: true },
    steps: [],
  },
  {
    name: 'SEMANTICS 11: the agent died before it could ask for the start',
    given: {
      desired: assignment(v1),
      seen: ended,
      file: file(v1),
      record: { uid: 'u1', generation: 1, starting: { ...start(v1), invocationBefore: '' } },
    },
    steps: ['start'],
  },
  {
    name: 'SEMANTICS 11: the agent died after it had asked, and the unit has failed since',
    given: {
      desired: assignment(v1),
      seen: failed,
      invocationID: 'i1',
      file: file(v1),
      record: { uid: 'u1', generation: 1, starting: { ...start(v1), invocationBefore: '' } },
    },
    steps: ['adopt'],
  },
  {
    name: 'SEMANTICS 11: the agent died before it asked, and an older run is remembered',
    given: {
      desired: assignment(v1),
      seen: failed,
      invocationID: 'i0',
      file: file(v1),
      record: { uid: 'u1', generation: 1, starting: { ...start(v1), invocationBefore: 'i0' } },
    },
    steps: ['resetFailed', 'start'],
  },

  // SEMANTICS 12: restart only for a reason
  {
    name: 'SEMANTICS 12: its text changed',
    given: { desired: assignment(v2, { generation: 2 }), seen: up, file: file(v1), record: startedWith(v1) },
    steps: ['stage', 'stop', 'write', 'reload', 'start', 'accept'],
  },
  {
    name: 'SEMANTICS 12: a comment and [X-Fleet] changed',
    given: { desired: assignment(v1Commented, { generation: 2 }), seen: up, file: file(v1), record: startedWith(v1) },
    steps: ['stage', 'write', 'accept'],
  },
  {
    name: 'SEMANTICS 12: only the generation changed',
    given: { desired: assignment(v1, { generation: 2 }), seen: up, file: file(v1), record: startedWith(v1) },
    steps: ['accept'],
  },
  {
    name: 'SEMANTICS 12: its file was edited by hand',
    given: { desired: assignment(v1), seen: up, file: file(v2), record: startedWith(v1) },
    steps: ['stage', 'write'],
  },
  {
    name: 'SEMANTICS 12: its file was deleted by hand',
    given: { desired: assignment(v1), seen: up, record: startedWith(v1) },
    steps: ['stage', 'write'],
  },
  {
    name: 'SEMANTICS 9: its template changed generation, not text',
    given: {
      desired: assignment(v1, { template: { name: 'web@.service', uid: 't1', generation: 2 } }),
      seen: up,
      file: file(v1),
      record: { ...startedWith(v1), template: { uid: 't1', generation: 1 } },
    },
    steps: ['accept'],
  },
  {
    name: 'another Unit took its name: a new process',
    given: { desired: assignment(v1, { unitUid: 'u2' }), seen: up, file: file(v1), record: startedWith(v1) },
    steps: ['stage', 'stop', 'write', 'reload', 'start', 'accept'],
  },

  // adoption
  {
    name: 'the state directory was lost: what runs as wanted is adopted',
    given: { desired: assignment(v1), seen: up, file: file(v1) },
    steps: ['adopt', 'accept'],
  },
  {
    name: 'the state directory was lost and the text had changed: restarted once',
    given: { desired: assignment(v2), seen: up, file: file(v1) },
    steps: ['stage', 'stop', 'write', 'reload', 'start', 'accept'],
  },
  {
    name: 'a dependency had started it before us',
    given: { desired: assignment(v1), seen: up, file: file(v1), record: startedWith(v1, { boot: 'b0' }) },
    steps: ['adopt'],
  },
  {
    name: 'the agent died between stop and start',
    given: { desired: assignment(v2), seen: ended, file: file(v1), record: { uid: 'u1', generation: 1 } },
    steps: ['stage', 'write', 'reload', 'start'],
  },
  {
    name: 'the agent died between write and start',
    given: { desired: assignment(v2), seen: ended, file: file(v2), previous: file(v1), record: { uid: 'u1', generation: 1 } },
    steps: ['start'],
  },
  {
    name: 'the agent died while it was stopping it, and now it is wanted as it was',
    given: {
      desired: assignment(v1),
      seen: seen('deactivating', 'stop-sigterm'),
      file: file(v1),
      record: { ...startedWith(v1), stopping: true },
    },
    steps: ['stop', 'start'],
  },
  {
    name: 'the agent died before the stop it had announced, and now it is wanted as it was',
    given: { desired: assignment(v1), seen: up, file: file(v1), record: { ...startedWith(v1), stopping: true } },
    steps: ['adopt'],
  },

  // launched → loaded
  {
    name: 'no longer launched',
    given: { desired: assignment(v1, { wanted: 'loaded' }), seen: up, file: file(v1), record: startedWith(v1) },
    steps: ['stop'],
  },
  {
    name: 'no longer launched, and it had ended',
    given: { desired: assignment(v1, { wanted: 'loaded' }), seen: ended, file: file(v1), record: startedWith(v1) },
    steps: ['unlaunch'],
  },
  {
    name: 'no longer launched, and it had failed',
    given: { desired: assignment(v1, { wanted: 'loaded' }), seen: failed, file: file(v1), record: startedWith(v1) },
    steps: ['resetFailed', 'unlaunch'],
  },
  {
    name: 'loaded, and its timer runs it: none of our business',
    given: {
      desired: assignment(v1, { wanted: 'loaded' }),
      seen: seen('activating', 'start'),
      file: file(v1),
      record: { uid: 'u1', generation: 1 },
    },
    steps: [],
  },
  {
    name: 'loaded, its timer runs it, and its text changed: the run goes on, the next one has the new text',
    given: {
      desired: assignment(v2, { wanted: 'loaded', generation: 2 }),
      seen: seen('activating', 'start'),
      file: file(v1),
      record: { uid: 'u1', generation: 1 },
    },
    steps: ['stage', 'write', 'reload', 'accept'],
  },

  // SEMANTICS 8, invariant 9: leaving
  {
    name: 'SEMANTICS 8: marked for removal',
    given: { desired: assignment(v1, { remove: 'deleted' }), seen: up, file: file(v1), record: startedWith(v1) },
    steps: ['stop', 'remove', 'forget'],
  },
  {
    name: 'SEMANTICS 8: removed after it had failed',
    given: { desired: assignment(v1, { remove: 'deleted' }), seen: failed, file: file(v1), record: startedWith(v1) },
    steps: ['resetFailed', 'remove', 'forget'],
  },
  {
    name: 'SEMANTICS 8: removed after it had ended',
    given: { desired: assignment(v1, { remove: 'deleted' }), seen: ended, file: file(v1), record: startedWith(v1) },
    steps: ['remove', 'forget'],
  },
  {
    name: 'SEMANTICS 8: it is gone already',
    given: { desired: assignment(v1, { remove: 'deleted' }) },
    steps: [],
  },
  {
    name: 'SEMANTICS 8: still stopping after a crash of the agent: awaited before the file goes',
    given: { desired: assignment(v1, { remove: 'deleted' }), seen: seen('deactivating', 'stop'), file: file(v1), record: startedWith(v1) },
    steps: ['stop', 'remove', 'forget'],
  },
  {
    name: 'a returning machine lets go of what is no longer its own',
    given: { seen: up, file: file(v1), record: startedWith(v1) },
    steps: ['stop', 'remove', 'forget'],
  },
  {
    name: 'SEMANTICS 16: nothing is let go before a server has said what belongs here',
    given: { seen: up, file: file(v1), record: startedWith(v1), mayLeave: false },
    steps: [],
  },
  { name: 'a unit of the machine that we know nothing of', given: { seen: up, foreign: '/usr/lib/systemd/system/web.service' }, steps: [] },

  // SEMANTICS 14: ownership
  {
    name: 'SEMANTICS 14: a name of the machine is refused',
    given: { desired: assignment(v1), seen: up, foreign: '/usr/lib/systemd/system/web.service' },
    steps: [],
    problem: 'NameTaken',
  },
  {
    name: 'SEMANTICS 14: also when wanted loaded',
    given: { desired: assignment(v1, { wanted: 'loaded' }), seen: ended, foreign: '/usr/lib/systemd/system/web.service' },
    steps: [],
    problem: 'NameTaken',
  },
  {
    name: 'SEMANTICS 14: a refused one is removed without a stop',
    given: { desired: assignment(v1, { remove: 'deleted' }), seen: up, foreign: '/usr/lib/systemd/system/web.service' },
    steps: [],
  },
  {
    name: 'SEMANTICS 14: a file of ours below one of the machine goes without a stop',
    given: {
      desired: assignment(v1, { remove: 'deleted' }),
      seen: up,
      foreign: '/etc/systemd/system/web.service',
      file: file(v1),
      record: startedWith(v1),
    },
    steps: ['remove', 'forget'],
  },

  // SEMANTICS 16: boot without a server
  {
    name: 'SEMANTICS 16: held at boot',
    given: { desired: assignment(v1), startHeld: 'waiting', mayLeave: false },
    steps: [],
    problem: 'StartHeld',
  },
  {
    name: 'SEMANTICS 16: what runs is adopted even so',
    given: { desired: assignment(v1), seen: up, file: file(v1), startHeld: 'waiting', mayLeave: false },
    steps: ['adopt', 'accept'],
  },

  // SEMANTICS 13: a text that systemd does not load
  {
    name: 'SEMANTICS 13: the old text comes back and is started',
    given: {
      desired: assignment(v2, { generation: 2 }),
      seen: seen('inactive', 'dead', 'bad-setting'),
      file: file(v2),
      previous: file(v1),
      record: { uid: 'u1', generation: 1, refused: refusedV2 },
    },
    steps: ['rollBack', 'reload', 'start'],
    problem: 'LoadFailed',
  },
  {
    name: 'SEMANTICS 13: the enable links of the old text come back before it: afterwards nothing would tell that they are missing',
    given: {
      desired: assignment(v2, { generation: 2 }),
      seen: seen('inactive', 'dead', 'bad-setting'),
      file: file(v2),
      previous: file(enabled),
      record: { uid: 'u1', generation: 1, refused: refusedV2 },
    },
    steps: ['link', 'rollBack', 'reload', 'start'],
    problem: 'LoadFailed',
  },
  {
    name: 'SEMANTICS 13: the old text is back and runs: it stays, and the problem with it',
    given: {
      desired: assignment(v2, { generation: 2 }),
      seen: up,
      file: file(v1),
      record: { ...startedWith(v1), refused: refusedV2 },
    },
    steps: [],
    problem: 'LoadFailed',
  },
  {
    name: 'SEMANTICS 13: there was no text before: nothing is started, nothing is tried again',
    given: {
      desired: assignment(v2),
      seen: seen('inactive', 'dead', 'bad-setting'),
      file: file(v2),
      record: { uid: 'u1', refused: refusedV2 },
    },
    steps: [],
    problem: 'LoadFailed',
  },
  {
    name: 'SEMANTICS 13: a restart request tries it again',
    given: {
      desired: assignment(v2, { generation: 2, restart: 'again' }),
      seen: up,
      file: file(v1),
      record: { ...startedWith(v1), refused: refusedV2 },
    },
    steps: ['stage', 'stop', 'write', 'reload', 'start', 'accept'],
  },
];

for (const { name, given, steps, problem } of cases) {
  test(`plan: ${name}`, () => {
    const planned = plan(world(given));
    assert.deepEqual(
      planned.steps.map((step) => step.do),
      steps,
    );
    assert.equal(planned.problem?.reason, problem);
    for (const step of planned.steps) assert.notEqual(step.why, '', 'every step has its reason');
  });
}

test('plan: invariant 9: a file never goes, and is never replaced by another text, before the stop', () => {
  for (const { given } of cases) {
    const at = world(given);
    const runs = at.seen.active === 'active' || at.seen.active === 'deactivating';
    if (!runs || at.foreign !== undefined) continue;
    const words = plan(at).steps.map((step) => step.do);
    if (words.includes('remove')) assert.ok(words.indexOf('stop') >= 0 && words.indexOf('stop') < words.indexOf('remove'));
    if (words.includes('stop') && words.includes('write')) assert.ok(words.indexOf('stop') < words.indexOf('write'));
  }
});

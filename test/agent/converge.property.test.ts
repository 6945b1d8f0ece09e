/** Random worlds: whatever is wanted, and whatever happens to agent, bus and units, the machine ends where it should, and stays there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { restartHash } from '../../agent/unit-text.js';
import type { AgentAssignment } from '../../api/resources/protocol.js';
import { settle } from '../rigs/manual-clock.js';
import { AgentWorld, assignment, service } from './world.js';

const units = ['a.service', 'b.service', 'job.service', 'taken.service'] as const;
type UnitName = (typeof units)[number];

const texts = {
  one: service('ExecStart=/bin/sleep infinity'),
  two: service('ExecStart=/bin/sleep infinity\nNice=5'),
  commented: `# a comment\n${service('ExecStart=/bin/sleep infinity')}`,
  oneshot: service('Type=oneshot\nExecStart=/bin/true'),
} as const;

type Want =
  | { readonly text: keyof typeof texts; readonly wanted: 'loaded' | 'launched'; readonly restart: number; readonly remove: boolean }
  | undefined;

const unitArbitrary = fc.constantFrom(...units);
const wantArbitrary: fc.Arbitrary<Want> = fc.option(
  fc.record({
    text: fc.constantFrom<keyof typeof texts>('one', 'two', 'commented', 'oneshot'),
    wanted: fc.constantFrom<'loaded' | 'launched'>('loaded', 'launched', 'launched'),
    restart: fc.integer({ min: 0, max: 1 }),
    remove: fc.boolean(),
  }),
  { nil: undefined },
);

type Happening =
  | { readonly do: 'want'; readonly unit: UnitName; readonly want: Want }
  | { readonly do: 'rest' | 'kill' | 'cut' | 'mend' | 'resync' | 'lose-signals' | 'reload' }
  | { readonly do: 'turns'; readonly turns: number }
  | { readonly do: 'exit'; readonly unit: UnitName; readonly status: number }
  | { readonly do: 'stick' | 'release' | 'stop-by-hand' | 'edit' | 'pin'; readonly unit: UnitName };

const happening: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('want' as const), unit: unitArbitrary, want: wantArbitrary }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turns' as const), turns: fc.integer({ min: 1, max: 12 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'rest' as const,
        'kill' as const,
        'kill' as const,
        'cut' as const,
        'mend' as const,
        'resync' as const,
        'lose-signals' as const,
        'reload' as const,
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('exit' as const), unit: unitArbitrary, status: fc.integer({ min: 0, max: 1 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('stick' as const, 'release' as const, 'stop-by-hand' as const, 'edit' as const, 'pin' as const),
      unit: unitArbitrary,
    }),
  },
);

/** The scheduler's side of it: what is assigned, with a uid that lasts until the unit was reported gone. */
class Wanted {
  readonly #assignments = new Map<UnitName, AgentAssignment>();
  #serial = 0;

  all(): AgentAssignment[] {
    return [...this.#assignments.values()];
  }

  want(unit: UnitName, want: Want): void {
    this.#serial += 1;
    const before = this.#assignments.get(unit);
    if (!want) {
      this.#assignments.delete(unit);
      return;
    }
    // A name is free again only once its unit is gone: an assignment that leaves stays one that leaves.
    const isLeaving = before?.remove !== undefined || (want.remove && before !== undefined);
    this.#assignments.set(
      unit,
      assignment(unit, texts[want.text], {
        unitUid: before?.unitUid ?? `uid-${this.#serial}`,
        generation: this.#serial,
        wanted: want.wanted,
        ...(want.restart > 0 ? { restart: `r${this.#serial}` } : {}),
        ...(isLeaving ? { remove: 'deleted' } : {}),
      }),
    );
  }
}

async function live(happenings: readonly Happening[]): Promise<{ world: AgentWorld; wanted: Wanted }> {
  const world = await AgentWorld.start({ vendor: { 'taken.service': service('ExecStart=/usr/sbin/taken') } });
  await world.systemd.byHand('start', 'taken.service');
  const wanted = new Wanted();
  for (const what of happenings) {
    switch (what.do) {
      case 'want':
        wanted.want(what.unit, what.want);
        world.agent.replace(wanted.all());
        break;
      case 'turns':
        for (let turn = 0; turn < what.turns; turn++) await settle();
        break;
      case 'rest':
        await world.rest();
        break;
      case 'kill':
        world.killAgent();
        await world.startAgent();
        world.agent.replace(wanted.all());
        break;
      case 'cut':
        if (world.systemd.isConnected) world.systemd.disconnect();
        break;
      case 'mend':
        if (!world.systemd.isConnected) world.systemd.connect();
        break;
      case 'resync':
        if (world.systemd.isConnected) await world.agent.resync();
        break;
      case 'lose-signals':
        world.systemd.faults.add('silent');
        break;
      case 'reload':
        if (world.systemd.isConnected) await world.systemd.reload();
        break;
      case 'exit':
        if (what.unit !== 'taken.service') world.systemd.exit(what.unit, what.status);
        break;
      case 'stick':
        world.systemd.stick(what.unit);
        break;
      case 'release':
        world.systemd.release(what.unit);
        break;
      case 'pin':
        world.systemd.pin(what.unit);
        break;
      case 'stop-by-hand':
        if (what.unit !== 'taken.service' && world.systemd.active(what.unit) === 'active') void world.systemd.byHand('stop', what.unit);
        break;
      case 'edit': {
        const content = world.files.entries.get(what.unit);
        if (content !== undefined) world.files.entries.set(what.unit, `${content}# edited\n`);
        break;
      }
    }
  }
  // The trouble ends, and with it the test's patience: everything has to fall into place.
  if (!world.systemd.isConnected) world.systemd.connect();
  for (const unit of units) world.systemd.release(unit);
  await world.rest(130_000);
  await world.agent.resync();
  await world.rest(130_000);
  return { world, wanted };
}

test('invariants 6, 9, 14: from any history the machine converges, and then nothing is done', { timeout: 240_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(happening, { minLength: 1, maxLength: 30 }), async (happenings) => {
      const { world, wanted } = await live(happenings);
      const { systemd, files, agent } = world;
      assert.deepEqual(systemd.violations, []);
      assert.equal(systemd.active('taken.service'), 'active', 'the unit of the machine is untouched');
      assert.equal(systemd.starts.get('taken.service'), 1);

      const assigned = new Map(wanted.all().map((each) => [each.unit, each]));
      for (const unit of units) {
        const want = assigned.get(unit);
        const state = agent.state(unit);
        if (unit === 'taken.service') assert.equal(files.read(unit), undefined);
        else if (!want || want.remove !== undefined) {
          assert.equal(files.read(unit), undefined, `${unit} is not wanted here`);
          assert.equal(systemd.active(unit), 'inactive', `${unit} is not wanted here`);
          if (want) assert.equal(state?.gone, true);
        } else {
          assert.deepEqual(files.read(unit), { uid: want.unitUid, textHash: want.textHash, text: want.text });
          assert.equal(state?.generation, want.generation, unit);
          assert.equal(state?.problem, undefined, unit);
          assert.equal(state?.active, systemd.active(unit), `${unit} is reported as it is`);
          // A stop by hand that no agent was there to see counts as an end, too.
          const endedByItself = happenings.some((what) => (what.do === 'exit' || what.do === 'stop-by-hand') && what.unit === unit);
          if (want.wanted === 'loaded') assert.equal(systemd.active(unit), 'inactive', `${unit} is not wanted launched`);
          else if (want.text !== texts.oneshot && !endedByItself) {
            assert.equal(restartHash(systemd.runningText(unit) ?? ''), restartHash(want.text), `${unit} runs, and with the right text`);
          }
        }
      }

      const changes = await world.changesDuring(async () => {
        await agent.resync();
        agent.lookAtAll();
        await world.rest(600_000);
      });
      assert.deepEqual(changes, [], 'quiet');
      await agent.close();
    }),
    { numRuns: Number(process.env.FLOTILLA_PROPERTY_RUNS ?? 150) },
  );
});

test('SEMANTICS 11: without a restart request, a reboot or a stop by hand no unit is started twice for the same text', {
  timeout: 120_000,
}, async () => {
  const quiet = happening.filter(
    (what) =>
      !['want', 'stop-by-hand'].includes(what.do) ||
      (what.do === 'want' && what.unit !== 'taken.service' && what.want?.restart === 0 && !what.want.remove),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(quiet, { minLength: 1, maxLength: 25 }), async (happenings) => {
      // One text and launched all along: comments, generations, agents and connections come and go.
      const sameText = happenings.map(
        (what): Happening =>
          what.do === 'want' && what.want
            ? { ...what, want: { ...what.want, wanted: 'launched', text: what.want.text === 'commented' ? 'commented' : 'one' } }
            : what,
      );
      const { world } = await live(sameText.filter((what) => !(what.do === 'want' && !what.want)));
      for (const unit of units)
        if (unit !== 'taken.service')
          assert.ok((world.systemd.starts.get(unit) ?? 0) <= 1, `${unit} was started ${world.systemd.starts.get(unit)} times`);
      await world.agent.close();
    }),
    { numRuns: Number(process.env.FLOTILLA_PROPERTY_RUNS ?? 100) },
  );
});

/**
 * Sets under faults from a seed, then quiet: each set has come to have exactly its units, orphans run on, what was deleted is gone, and
 * nothing more is written. A failing seed replays exactly: SIM_SEED=n.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StatusError } from '../../api/resources/errors.js';
import { controllerOf } from '../../api/resources/owners.js';
import { memberIndex } from '../../api/resources/unitset-names.js';
import { content, setManifest } from '../controllers/unitsets/rig.js';
import { seededRandom } from '../rigs/seeded-random.js';
import { SimCluster } from './cluster.js';

const seeds = process.env.SIM_SEED ? [Number(process.env.SIM_SEED)] : Array.from({ length: 8 }, (_, at) => at + 1);
const sets = ['web', 'api', 'tick.timer'];

for (const seed of seeds) {
  test(`seed ${seed}: whatever happens to sets, they converge, and then nothing is written`, async () => {
    const random = seededRandom(seed);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
    const sim = await new SimCluster({ random }).start(['a', 'b', 'c', 'd'], 2);
    await sim.advance(25_000);
    for (const agent of sim.agents.values()) agent.stopTakesMs = pick([0, 1_000, 4_000]);

    for (let step = 0; step < 30; step++) {
      const name = pick(sets);
      const server = pick(sim.servers);
      const agent = sim.agent(pick(['a', 'b', 'c', 'd']));
      const act = Math.floor(random() * 14);
      const user = async () => {
        const { door } = server;
        const as = { manager: 'flotilla', force: true };
        if (act <= 4) return door.apply('unitsets', name, setManifest(name, pick([0, 1, 3, 6]), { content: content(step % 3) }), as);
        if (act <= 6) return door.patch('unitsets', name, { type: 'merge', body: { spec: { replicas: pick([0, 2, 4, 7]) } } }, as);
        if (act === 7) return door.remove('unitsets', name, { propagationPolicy: pick(['Background', 'Foreground', 'Orphan']) }, as);
        const units = [...sim.cache.objects('units').keys()];
        if (act === 8 && units.length > 0) return door.remove('units', pick(units), {}, as);
        return undefined;
      };
      // A frozen store answers when its time is up: a user waits for it, and so does nothing else here.
      const done = user().catch((error: unknown) => {
        if (!(error instanceof StatusError)) throw error;
      });
      if (act === 9) server.store.faults.loseAnswers = 1 + Math.floor(random() * 3);
      else if (act === 10) server.store.faults.frozen = random() < 0.5;
      else if (act === 11) server.store.faults.watchesCut = random() < 0.5;
      else if (act === 12) {
        if (agent.connected) agent.cutOff();
        else await agent.connect();
      } else if (act === 13 && agent.connected) agent.kill();
      await sim.until('the user has an answer', () => done.then(() => true));
      await sim.advance(250 * Math.floor(random() * 20));
    }

    for (const { store } of sim.servers) Object.assign(store.faults, { frozen: false, watchesCut: false, loseAnswers: 0 });
    for (const agent of sim.agents.values()) if (!agent.connected) await agent.connect();
    await sim.advance(180_000);

    for (const [name, { value }] of sim.cache.objects('unitsets')) {
      const note = `${name}: ${JSON.stringify(sim.cache.joined('unitsets', name))}`;
      assert.equal(value.metadata.deletionTimestamp, undefined, note);
      const { replicas } = value.spec as { replicas: number };
      const taken = [...sim.cache.objects('units')].filter(([unit, row]) => {
        const index = memberIndex(name, unit);
        return index !== undefined && index <= replicas && controllerOf(row.value.metadata)?.uid !== value.metadata.uid;
      });
      const own = [...sim.cache.objects('units').values()].filter((row) => controllerOf(row.value.metadata)?.uid === value.metadata.uid);
      // Names of units that an earlier set was made to leave behind are theirs.
      assert.ok(
        taken.every(([, row]) => controllerOf(row.value.metadata) === undefined),
        note,
      );
      assert.equal(own.length, replicas - taken.length, note);
      const available = sim.condition('unitsets', name, 'Available');
      assert.equal(available?.status, taken.length === 0 ? 'True' : 'False', note);
    }
    for (const [unit, row] of sim.cache.objects('units')) {
      const owner = controllerOf(row.value.metadata);
      const note = `${unit}: ${JSON.stringify(row.value.metadata)}`;
      assert.equal(row.value.metadata.deletionTimestamp, undefined, note);
      if (owner) assert.equal(sim.cache.object('unitsets', owner.name)?.value.metadata.uid, owner.uid, note);
      assert.equal(sim.running(unit).length, 1, note);
    }
    for (const agent of sim.agents.values()) {
      for (const unit of agent.running.keys()) assert.ok(sim.cache.object('units', unit), `${unit} runs on ${agent.name} for nobody`);
    }
    const before = await sim.store.revision();
    await sim.advance(130_000);
    assert.equal(await sim.store.revision(), before, 'it still writes');
    await sim.end();
  });
}

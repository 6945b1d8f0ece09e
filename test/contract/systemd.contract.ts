/** What the agent relies on in a systemd, real or fake. Runs as a test, and inside a machine as a script (`systemd.machine.ts`, by `test/e2e/systemd-contract.test.ts`). */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { UnitFiles } from '../../agent/files.js';
import { isDown, NoAnswer, type Systemd, SystemdError, type UnitChange } from '../../agent/systemd.js';
import { sha256 } from '../../agent/unit-text.js';

export interface SystemdUnderTest {
  readonly systemd: Systemd;
  readonly files: UnitFiles;
  /** Somebody uses systemctl; resolves when that has ended. */
  byHand(verb: 'start' | 'stop', name: string): Promise<void>;
  /** A unit that the machine itself runs, and one that it does not: an instance of a template where it has templates. */
  readonly vendor: { readonly running: string; readonly idle: string };
  /** Removes what the test has left, and closes the connection. */
  close(): Promise<void>;
}

const waitLimitMs = 10_000;

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + waitLimitMs;
  while (!(await holds())) {
    if (performance.now() > deadline) assert.fail(`${what} did not come about within ${waitLimitMs / 1_000} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export function systemdContract(name: string, open: () => Promise<SystemdUnderTest>): void {
  /** Each test has a connection of its own, and names of its own: what one leaves behind is not the next one's. */
  const withSystemd = (title: string, run: (under: SystemdUnderTest & Helpers, unit: string) => Promise<void>) =>
    test(title, { timeout: 60_000 }, async () => {
      const under = await open();
      serial += 1;
      const unit = `flotilla-contract-${serial}.service`;
      try {
        await run({ ...under, ...helpers(under) }, unit);
      } finally {
        await under.close();
      }
    });
  let serial = 0;

  describe(`systemd contract: ${name}`, () => {
    withSystemd('a name without a file is not found, in the order asked for', async ({ systemd, vendor }, unit) => {
      const rows = await systemd.list([unit, vendor.running]);
      assert.deepEqual([...rows.keys()], [unit, vendor.running]);
      assert.equal(rows.get(unit)?.load, 'not-found');
      assert.equal(rows.get(vendor.running)?.load, 'loaded');
    });

    withSystemd("the machine's own units say where they are from", async ({ systemd, files, vendor }) => {
      for (const unit of [vendor.running, vendor.idle]) {
        const fragmentPath = await systemd.fragmentPath(unit);
        assert.match(fragmentPath, /\/systemd\/(system|user)\//);
        assert.notEqual(fragmentPath, files.path(unit));
      }
    });

    withSystemd(
      'a new file is started without a reload, also after its name was not found',
      async ({ systemd, write, row, files }, unit) => {
        assert.equal((await row(unit)).load, 'not-found');
        write(unit, '[Service]\nExecStart=/bin/sleep infinity\n');
        const job = await systemd.start(unit);
        assert.equal(await job.ended, 'done');
        const { load, active, sub, id } = await row(unit);
        assert.deepEqual({ load, active, sub, id }, { load: 'loaded', active: 'active', sub: 'running', id: unit });
        assert.equal(await systemd.fragmentPath(unit), files.path(unit));
        const { run, service, type } = await systemd.details(unit);
        assert.ok(service?.mainPID !== undefined && service.mainPID > 1);
        assert.match(run.invocationID ?? '', /^[0-9a-f]{32}$/);
        assert.equal(type, 'simple');
        assert.ok(run.sinceMs !== undefined && run.activeSinceMs !== undefined);
        assert.equal(service.exitStatus, undefined, 'it has not ended yet');
      },
    );

    withSystemd('a value that systemd does not have is absent', async ({ systemd, write }, unit) => {
      write(unit, '[Service]\nExecStart=/bin/sleep infinity\n');
      const { run, service } = await systemd.details(unit);
      assert.deepEqual(run, {});
      assert.equal(service?.mainPID, undefined);
      assert.equal(await systemd.controlGroup(unit), undefined);
    });

    withSystemd('signals tell of the change, with its facts', async ({ systemd, write }, unit) => {
      const changes: UnitChange[] = [];
      systemd.listen({ changed: (of, change) => void (of === unit && changes.push(change)) });
      write(unit, '[Service]\nExecStart=/bin/sleep infinity\n');
      await (await systemd.start(unit)).ended;
      await until('word of the running unit', () => changes.some((change) => change.of === 'unit' && change.active === 'active'));
      await until('word of its process', () => changes.some((change) => change.of === 'service' && change.service.mainPID !== undefined));
      const { run } = await systemd.details(unit);
      assert.deepEqual(changes.findLast((change) => change.of === 'unit')?.run, run);
    });

    withSystemd('an edit after the stop needs no reload', async ({ systemd, write, row }, unit) => {
      write(unit, '[Service]\nType=oneshot\nExecStart=/bin/sh -c "exit 3"\n');
      await (await systemd.start(unit)).ended;
      assert.equal((await systemd.details(unit)).service?.exitStatus, 3);
      assert.equal((await row(unit)).active, 'failed');
      await systemd.resetFailed(unit);
      write(unit, '[Service]\nType=oneshot\nExecStart=/bin/sh -c "exit 4"\n');
      assert.equal(await systemd.needsReload(unit), false);
      assert.equal(await (await systemd.start(unit)).ended, 'failed');
      const { service } = await systemd.details(unit);
      assert.deepEqual([service?.result, service?.exitCode, service?.exitStatus], ['exit-code', 'exited', 4]);
    });

    withSystemd('resetFailed of a unit that is not loaded is no error', async ({ systemd }, unit) => {
      await systemd.resetFailed(unit);
    });

    withSystemd('each start is another invocation', async ({ systemd, write }, unit) => {
      write(unit, '[Service]\nExecStart=/bin/sleep infinity\n');
      await (await systemd.start(unit)).ended;
      const first = (await systemd.details(unit)).run.invocationID;
      await (await systemd.stop(unit)).ended;
      await (await systemd.start(unit)).ended;
      assert.notEqual((await systemd.details(unit)).run.invocationID, first);
    });

    withSystemd('a start of what runs changes nothing', async ({ systemd, write }, unit) => {
      write(unit, '[Service]\nExecStart=/bin/sleep infinity\n');
      await (await systemd.start(unit)).ended;
      const before = await systemd.details(unit);
      assert.equal(await (await systemd.start(unit)).ended, 'done');
      assert.deepEqual(await systemd.details(unit), before);
    });

    withSystemd('what it wants may come later: who wants it is known, and a start of what runs starts it', async (under, unit) => {
      const { systemd, write, row } = under;
      const wanted = `wanted-by-${unit}`;
      write(unit, `[Unit]\nWants=${wanted}\n[Service]\nExecStart=/bin/sleep infinity\n`);
      await (await systemd.start(unit)).ended;
      const before = await systemd.details(unit);
      assert.equal((await row(wanted)).load, 'not-found');
      write(wanted, '[Service]\nExecStart=/bin/sleep infinity\n');
      assert.ok(isDown(await row(wanted)));
      assert.deepEqual(await systemd.wantedBy(wanted), [unit]);
      assert.deepEqual(await systemd.wantedBy(unit), []);
      await (await systemd.start(unit)).ended;
      await until('what it wants', async () => (await row(wanted)).active === 'active');
      assert.deepEqual(await systemd.details(unit), before);
    });

    withSystemd('a stop job ends when nothing runs any more', async ({ systemd, write, row }, unit) => {
      write(unit, '[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 0.3\n');
      await (await systemd.start(unit)).ended;
      assert.equal(await (await systemd.stop(unit)).ended, 'done');
      assert.ok(isDown(await row(unit)));
    });

    withSystemd('a stop cancels a start that is under way', async ({ systemd, write, row }, unit) => {
      write(unit, '[Service]\nExecStartPre=/bin/sleep 30\nExecStart=/bin/sleep infinity\n');
      const start = await systemd.start(unit);
      await until('the start', async () => (await row(unit)).active === 'activating');
      assert.equal((await row(unit)).job, 'start');
      await (await systemd.stop(unit)).ended;
      assert.equal(await start.ended, 'canceled');
      assert.ok(isDown(await row(unit)));
    });

    withSystemd('a file that cannot be loaded is refused, and says why', async ({ systemd, write }, unit) => {
      write(unit, '[Service]\nType=simple\n');
      await assert.rejects(systemd.start(unit), (error: Error) => {
        assert.ok(error instanceof SystemdError);
        assert.equal(error.code, 'org.freedesktop.systemd1.BadUnitSetting');
        return true;
      });
      assert.match((await systemd.loadError(unit)) ?? '', /bad unit file setting/i);
    });

    withSystemd('a unit whose requirement is missing is refused by name', async ({ systemd, write }, unit) => {
      write(unit, '[Unit]\nRequires=flotilla-nowhere.service\n[Service]\nExecStart=/bin/sleep infinity\n');
      await assert.rejects(systemd.start(unit), (error: Error) => error instanceof SystemdError && /flotilla-nowhere/.test(error.message));
    });

    withSystemd('a socket without its service stays down, and only its job says so', async ({ systemd, write, row }, unit) => {
      const socket = unit.replace(/service$/, 'socket');
      write(socket, `[Socket]\nListenStream=/run/user/0/${unit}.sock\n`);
      assert.equal(await (await systemd.start(socket)).ended, 'failed');
      assert.equal((await row(socket)).active, 'inactive');
    });

    withSystemd('a process that fails after its start leaves the unit failed, with its status', async ({ systemd, write, row }, unit) => {
      write(unit, '[Service]\nExecStart=/bin/sh -c "exit 7"\n');
      await (await systemd.start(unit)).ended;
      await until('the failure', async () => (await row(unit)).active === 'failed');
      const { service } = await systemd.details(unit);
      assert.deepEqual([service?.result, service?.exitStatus], ['exit-code', 7]);
    });

    withSystemd(
      'the status is that of an ExecStartPre= when that is what failed; one that may fail does not count',
      async ({ systemd, write, row }, unit) => {
        const before = 'ExecStartPre=-/bin/sh -c "exit 8"\nExecStartPre=/bin/sh -c "exit 9"\n';
        write(unit, `[Service]\n${before}ExecStart=/bin/sleep infinity\n`);
        await (await systemd.start(unit)).ended;
        await until('the failure', async () => (await row(unit)).active === 'failed');
        const { service } = await systemd.details(unit);
        assert.deepEqual([service?.result, service?.exitCode, service?.exitStatus], ['exit-code', 'exited', 9]);
      },
    );

    withSystemd("jobs of others are told of, and ours are not taken for others'", async ({ systemd, write, byHand }, unit) => {
      const foreign: string[] = [];
      systemd.listen({ foreignJobEnded: (of, result) => void (of === unit && foreign.push(result)) });
      write(unit, '[Service]\nExecStart=/bin/sleep infinity\n');
      await (await systemd.start(unit)).ended;
      await (await systemd.start(unit)).ended;
      assert.deepEqual(foreign, []);
      await byHand('stop', unit);
      await until('word of the foreign job', () => foreign.length > 0);
      assert.deepEqual(foreign, ['done']);
    });

    withSystemd('a hundred jobs at once all end', async ({ systemd, write }, unit) => {
      const units = Array.from({ length: 100 }, (_, index) => unit.replace('.service', `-${index}.service`));
      for (const each of units) write(each, '[Service]\nExecStart=/bin/sleep infinity\nStandardOutput=null\n');
      const starts = await Promise.all(units.map(async (each) => (await systemd.start(each)).ended));
      assert.ok(starts.every((result) => result === 'done'));
      assert.ok([...(await systemd.list(units)).values()].every(({ active }) => active === 'active'));
      const stops = await Promise.all(units.map(async (each) => (await systemd.stop(each)).ended));
      assert.ok(stops.every((result) => result === 'done'));
    });

    withSystemd('reload is told of when it has ended, and restarts nothing', async ({ systemd, write }, unit) => {
      write(unit, '[Service]\nExecStart=/bin/sleep infinity\n');
      await (await systemd.start(unit)).ended;
      const before = await systemd.details(unit);
      let reloads = 0;
      systemd.listen({
        reloaded: () => {
          reloads += 1;
        },
      });
      await systemd.reload();
      await until('word of the reload', () => reloads > 0);
      assert.deepEqual(await systemd.details(unit), before);
    });

    withSystemd('after the end every call says that nobody knows', async ({ systemd }, unit) => {
      systemd.close();
      await assert.rejects(systemd.list([unit]), NoAnswer);
      await assert.rejects(systemd.start(unit), NoAnswer);
    });
  });
}

type Helpers = ReturnType<typeof helpers>;

const helpers = ({ systemd, files }: SystemdUnderTest) => ({
  write(unit: string, text: string): void {
    files.stage(unit, { uid: 'contract', textHash: sha256(text), text });
    files.commit(unit);
  },
  async row(unit: string) {
    return (await systemd.list([unit])).get(unit)!;
  },
});

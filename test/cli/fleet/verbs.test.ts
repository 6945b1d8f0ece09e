/** Each of fleet's verbs and flags, typed as its users type them, against a real server and real agents: words, exit codes, and what became of the processes. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { FleetRig, unitFile } from './rig.js';

const sleep = '/bin/sleep infinity';

interface Step {
  readonly line: string;
  readonly code: number;
  /** Whole lines, whichever machine it was; absent: nothing. */
  readonly out?: string | RegExp;
  readonly err?: string | RegExp;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

interface Case {
  readonly name: string;
  /** Unit files: text, or the command that a service runs. */
  readonly files?: Readonly<Record<string, string>>;
  readonly steps: readonly (Step | ((rig: FleetRig) => unknown))[];
}

const on = /on 00000000\.\.\.\/10\.77\.0\.[123]/g;
const global = { sections: '[X-Fleet]\nGlobal=true\n' };

/** What `pids` gave before, by unit. */
const remembered = new Map<string, (number | undefined)[]>();
const remember = (unit: string) => (rig: FleetRig) => void remembered.set(unit, rig.pids(unit));

const cases: readonly Case[] = [
  // ── submit ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'submit: two at once, a name without its type, and --sign is ignored with a word',
    files: { 'sa.service': sleep, 'sb.socket': '[Socket]\nListenStream=/run/sb\n' },
    steps: [
      {
        line: 'submit --sign sa sb.socket',
        code: 0,
        out: 'Unit sa.service inactive\nUnit sb.socket inactive\n',
        err: '--sign does nothing: unit files are not signed\n',
      },
      (rig) => assert.equal(rig.starts('sa.service'), 0),
    ],
  },
  {
    name: 'submit: a file with garbage is refused with file and line, and its neighbour is not created either',
    files: { 'good.service': sleep, 'redis@.service': '[Unit]\nDescription=Redis\n[Service]\nExecStart docker run redis\n' },
    steps: [
      {
        line: 'submit good redis@1',
        code: 1,
        err: /^Error creating units: redis@\.service:4: .*"ExecStart docker run redis" has no "="|"ExecStart/,
      },
      { line: 'cat good', code: 1, err: /there is no unit good\.service/ },
    ],
  },
  {
    name: 'submit --replace: text that runs is not its business, and it says whose it is',
    files: { 'ra.service': sleep },
    steps: [
      { line: 'start ra', code: 0, out: 'Unit ra.service inactive\nUnit ra.service launched MACHINE\n' },
      (rig) => rig.write('ra.service', unitFile('/bin/sleep 1')),
      {
        line: 'submit --replace ra',
        code: 1,
        err: "Error creating units: can not replace Unit(ra.service) in state 'launched', use the appropriate command: start --replace\n",
      },
      { line: 'unload ra', code: 0, out: 'Unit ra.service inactive\n', err: 'Successfully unloaded units [ra.service].\n' },
      { line: 'submit --replace ra', code: 0 },
      { line: 'cat ra', code: 0, out: unitFile('/bin/sleep 1') },
      { line: 'submit --replace nofile', code: 1, err: /unable to find Unit\(nofile\.service\) in Registry or on filesystem/ },
    ],
  },
  // ── load ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'load: on a machine and not started; --no-block only asks',
    files: { 'la.service': sleep, 'lb.service': sleep },
    steps: [
      { line: 'load la', code: 0, out: 'Unit la.service inactive\nUnit la.service loaded MACHINE\n' },
      { line: 'load la', code: 0 },
      { line: 'load --no-block lb', code: 0, out: 'Unit lb.service inactive\nTriggered unit lb.service load\n' },
      (rig) => assert.equal(rig.starts('la.service'), 0),
    ],
  },
  {
    name: 'load: what runs is stopped, as fleet did; --replace changes it in the same write',
    files: { 'lc.service': sleep },
    steps: [
      { line: 'start --no-block lc', code: 0, out: 'Unit lc.service inactive\nTriggered unit lc.service start\n' },
      { line: 'start lc', code: 0 },
      (rig) => rig.write('lc.service', unitFile('/bin/sleep 2')),
      { line: 'load --replace lc', code: 0, out: 'Unit lc.service loaded MACHINE\n' },
      (rig) => assert.deepEqual([rig.starts('lc.service'), rig.pids('lc.service')], [1, [undefined, undefined, undefined]]),
    ],
  },
  // ── start ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'start: a path, and an instance from the template beside it',
    files: { 'path.service': sleep, 'tpl@.service': sleep },
    steps: [
      { line: 'start FOLDER/path.service', code: 0, out: 'Unit path.service inactive\nUnit path.service launched MACHINE\n' },
      { line: 'start FOLDER/tpl@7', code: 0, out: 'Unit tpl@7.service inactive\nUnit tpl@7.service launched MACHINE\n' },
      { line: 'cat tpl@7', code: 0, out: unitFile(sleep) },
      { line: 'cat tpl@', code: 1, err: /there is no unit tpl@\.service/ },
    ],
  },
  {
    name: 'start: an instance copies its template in the cluster, and says that the file here is another one',
    files: { 'old@.service': sleep },
    steps: [
      { line: 'submit old@', code: 0, out: 'Unit old@.service inactive\n' },
      (rig) => rig.write('old@.service', unitFile('/bin/sleep 3')),
      {
        line: 'start old@1',
        code: 0,
        out: 'Unit old@1.service inactive\nUnit old@1.service launched MACHINE\n',
        err: 'WARNING: Unit old@.service in registry differs from local template unit file old@.service. Add --replace to override.\n',
      },
      { line: 'cat old@1', code: 0, out: unitFile(sleep) },
      {
        line: 'start old@1',
        code: 0,
        err: 'WARNING: Unit old@1.service in registry differs from local template unit file old@.service. Add --replace to override.\n',
      },
      { line: 'start --replace old@1', code: 0, out: 'Unit old@1.service launched MACHINE\n' },
      { line: 'cat old@1', code: 0, out: unitFile('/bin/sleep 3') },
    ],
  },
  {
    name: 'start: a oneshot that succeeds is launched; once is once, and restart runs it again',
    files: { 'job.service': unitFile('/bin/true', { service: 'Type=oneshot\n' }) },
    steps: [
      { line: 'start job', code: 0, out: 'Unit job.service inactive\nUnit job.service launched MACHINE\n' },
      { line: 'start job', code: 0 },
      (rig) => assert.equal(rig.starts('job.service'), 1),
      { line: 'restart job', code: 0, out: 'Unit job.service launched MACHINE\n' },
      (rig) => assert.equal(rig.starts('job.service'), 2),
    ],
  },
  {
    name: 'start: what fails is said to fail, with its reason; started again it is started again',
    files: { 'fails.service': unitFile('/bin/false', { service: 'Type=oneshot\n' }) },
    steps: [
      {
        line: 'start fails',
        code: 1,
        out: 'Unit fails.service inactive\n',
        err: /unit fails\.service is not launched MACHINE: Failed on machine 00000000: .*status 1/,
      },
      { line: 'start fails', code: 1, err: /unit fails\.service is not launched MACHINE: Failed/ },
      (rig) => assert.equal(rig.starts('fails.service'), 2),
      (rig) => rig.write('fails.service', unitFile('/bin/true', { service: 'Type=oneshot\n' })),
      { line: 'start --replace fails', code: 0, out: 'Unit fails.service launched MACHINE\n' },
    ],
  },
  {
    name: 'start: a slow starter is waited for, no longer than --block-attempts says, and goes on',
    files: { 'slow.service': unitFile(sleep, { service: 'ExecStartPre=/bin/sleep 60\n' }) },
    steps: [
      {
        line: 'start --block-attempts 1 slow',
        code: 124,
        out: 'Unit slow.service inactive\n',
        err: /timed out after 2 s waiting for unit slow\.service to report state launched: Activating \(start/,
      },
      { line: 'list-units --no-legend --fields unit,active', code: 0, out: /^slow\.service\tactivating$/m },
      { line: 'destroy slow', code: 0, out: 'Destroyed slow.service\n' },
    ],
  },
  {
    name: 'start: what fits nowhere ends with the reason; stop and unload let go of it',
    files: { 'nowhere.service': unitFile(sleep, { sections: '[X-Fleet]\nMachineMetadata=az=none\n' }) },
    steps: [
      {
        line: 'start nowhere',
        code: 1,
        out: 'Unit nowhere.service inactive\n',
        err: /unit nowhere\.service is not launched: 3 machines: no metadata az=none/,
      },
      { line: 'stop nowhere', code: 0, out: 'Unit nowhere.service inactive\n', err: 'Successfully stopped units [nowhere.service].\n' },
      { line: 'start --no-block nowhere', code: 0, out: 'Triggered unit nowhere.service start\n' },
      { line: 'unload nowhere', code: 0, out: 'Unit nowhere.service inactive\n', err: 'Successfully unloaded units [nowhere.service].\n' },
    ],
  },
  {
    name: "start: a unit of the machine's own is left alone, and the verb says so",
    files: { 'sshd.service': sleep },
    steps: [
      { line: 'start sshd', code: 1, out: 'Unit sshd.service inactive\n', err: /sshd\.service is a unit of the machine itself/ },
      { line: 'destroy sshd', code: 0, out: 'Destroyed sshd.service\n' },
    ],
  },
  {
    name: 'start: what systemd does not load ends with its words',
    files: { 'empty.service': '[Service]\nType=simple\n' },
    steps: [{ line: 'start empty', code: 1, out: 'Unit empty.service inactive\n', err: /bad unit file setting/ }],
  },
  // ── global units ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'a global unit starts on every machine, restarts on every machine or on one, and stops',
    files: { 'g.service': unitFile(sleep, global) },
    steps: [
      { line: 'start g', code: 0, out: 'Unit g.service \nTriggered global unit g.service start\n' },
      (rig) => assert.deepEqual(rig.pids('g.service').map(Boolean), [true, true, true]),
      remember('g.service'),
      { line: 'restart g', code: 0, out: 'Triggered global unit g.service restart\n' },
      (rig) => {
        for (const [at, pid] of rig.pids('g.service').entries()) assert.notEqual(pid, remembered.get('g.service')![at]);
      },
      remember('g.service'),
      { line: 'restart --machine m2 g', code: 0, out: 'Triggered global unit g.service restart\n' },
      (rig) =>
        assert.deepEqual(
          rig.pids('g.service').map((pid, at) => pid === remembered.get('g.service')![at]),
          [true, false, true],
        ),
      { line: 'stop g', code: 0, out: 'Triggered global unit g.service stop\n', err: 'Successfully stopped units [].\n' },
      (rig) => assert.deepEqual(rig.pids('g.service'), [undefined, undefined, undefined]),
      { line: 'destroy g', code: 0, out: 'Destroyed g.service\n' },
    ],
  },
  {
    name: 'a global unit that failed on one machine is started again there, and nowhere else',
    files: { 'gf.service': unitFile(sleep, global) },
    steps: [
      { line: 'start gf', code: 0, out: 'Unit gf.service \nTriggered global unit gf.service start\n' },
      remember('gf.service'),
      async (rig) => {
        rig.live.machines[1]!.systemd.exit('gf.service', 7);
        await rig.until('the failure is known', async () => /failed/.test((await rig.run('list-units')).stdout));
      },
      { line: 'start gf', code: 0, out: 'Triggered global unit gf.service start\n' },
      (rig) =>
        assert.deepEqual(
          rig.pids('gf.service').map((pid, at) => pid !== undefined && pid === remembered.get('gf.service')![at]),
          [true, false, true],
        ),
      (rig) => assert.equal(rig.starts('gf.service'), 4),
      { line: 'destroy gf', code: 0, out: 'Destroyed gf.service\n' },
    ],
  },
  {
    name: 'a global unit that fails everywhere ends with the machine and the reason',
    files: { 'gx.service': unitFile('/bin/false', { service: 'Type=oneshot\n', ...global }) },
    steps: [
      {
        line: 'start gx',
        code: 1,
        out: /^Unit gx\.service \nTriggered global unit gx\.service start\n$/,
        err: /unit gx\.service is not launched: failed on machine m[123]/,
      },
      { line: 'destroy gx', code: 0, out: 'Destroyed gx.service\n' },
    ],
  },
  // ── stop, unload ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'stop: a stop that hangs is given up in time, with what it waits for, also by the second who asks',
    files: { 'hang.service': sleep },
    steps: [
      { line: 'start hang', code: 0, out: 'Unit hang.service inactive\nUnit hang.service launched MACHINE\n' },
      (rig) => {
        for (const { systemd } of rig.live.machines) systemd.stick('hang.service');
      },
      { line: 'stop --block-attempts=1 hang', code: 124, err: /Failed to stop units \[hang\.service\]: still not after 2 s: / },
      { line: 'stop --block-attempts=1 hang', code: 124, err: /Failed to stop units \[hang\.service\]: still not after 2 s: / },
      { line: 'destroy --block-attempts=1 hang', code: 124, err: /hang\.service is still there after 2 s: Being deleted on machine/ },
      (rig) => {
        for (const { systemd } of rig.live.machines) systemd.release('hang.service');
      },
      (rig) => rig.until('it is gone', async () => (await rig.run('cat hang')).code === 1),
    ],
  },
  {
    name: 'stop: names that are not there are no success, and the others are stopped all the same',
    files: { 'there.service': sleep },
    steps: [
      { line: 'start there', code: 0, out: 'Unit there.service inactive\nUnit there.service launched MACHINE\n' },
      {
        line: 'stop --no-block thre there',
        code: 1,
        out: 'Triggered unit there.service stop\n',
        err: /there is no unit thre\.service; did you mean "there\.service"\?/,
      },
      { line: 'stop nosuch', code: 1, err: /^Units not found in registry\n/ },
      { line: 'unload there', code: 0, out: 'Unit there.service inactive\n', err: 'Successfully unloaded units [there.service].\n' },
      { line: 'unload there', code: 0, err: 'Successfully unloaded units [].\n' },
      { line: 'stop there', code: 1, err: 'Unable to stop unit there.service in state inactive\n' },
      { line: 'restart there', code: 1, err: 'Unable to restart unit there.service in state inactive\n' },
    ],
  },
  {
    name: 'globs stand for names in the cluster',
    files: { 'web@.service': sleep },
    steps: [
      { line: 'start --no-block web@1 web@2', code: 0, out: /Triggered unit web@1\.service start\nTriggered unit web@2\.service start\n$/ },
      { line: 'start web@*', code: 0 },
      {
        line: 'stop web@*',
        code: 0,
        out: /^(Unit web@[12]\.service loaded MACHINE\n){2}$/,
        err: 'Successfully stopped units [web@1.service web@2.service].\n',
      },
      { line: 'destroy web@[12]', code: 0, out: 'Destroyed web@1.service\nDestroyed web@2.service\n' },
      { line: 'stop web@*', code: 1, err: 'flotilla: no unit in the cluster matches "web@*.service"\n' },
      { line: 'stop web@[', code: 2, err: /this glob is malformed/ },
    ],
  },
  {
    name: '- is standard input: a unit file for the units beside it, or names',
    steps: [
      {
        line: 'start - in1 in2',
        input: unitFile(sleep),
        code: 0,
        out: /^Unit in1\.service inactive\nUnit in2\.service inactive\n(Unit in[12]\.service launched MACHINE\n){2}$/,
      },
      { line: 'start -', input: unitFile(sleep), code: 2, err: /standard input is a unit file, which has no name/ },
      { line: 'stop -', input: unitFile(sleep), code: 2, err: /it may only hold names of units|may only hold names/ },
      { line: 'start - in3', input: '[Service]\nExecStart docker\n', code: 1, err: /^Error creating units: standard input:2: / },
      { line: 'destroy -', input: 'in1.service\nin2\n', code: 0, out: 'Destroyed in1.service\nDestroyed in2.service\n' },
    ],
  },
  // ── restart ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'restart: a new process on the same machine, seen running before it ends',
    files: { 'pid.service': sleep },
    steps: [
      { line: 'start pid', code: 0, out: 'Unit pid.service inactive\nUnit pid.service launched MACHINE\n' },
      remember('pid.service'),
      { line: 'restart pid', code: 0, out: 'Unit pid.service launched MACHINE\n' },
      (rig) => {
        const [old, now] = [remembered.get('pid.service')!, rig.pids('pid.service')];
        assert.deepEqual(now.map(Boolean), old.map(Boolean));
        assert.notDeepEqual(now, old);
      },
      { line: 'stop pid', code: 0, out: 'Unit pid.service loaded MACHINE\n', err: 'Successfully stopped units [pid.service].\n' },
      { line: 'restart pid', code: 0, out: 'Unit pid.service launched MACHINE\n' },
      { line: 'restart --machine nowhere pid', code: 1, err: /machine "nowhere" is not known/ },
      { line: 'restart pid@', code: 1, err: /there is no unit pid@\.service/ },
    ],
  },
  {
    name: 'restart --machine: a unit that is elsewhere is not restarted',
    files: { 'pin.service': unitFile(sleep, { sections: '[X-Fleet]\nMachineMetadata=az=z3\n' }) },
    steps: [
      { line: 'start pin', code: 0, out: 'Unit pin.service inactive\nUnit pin.service launched on 00000000.../10.77.0.3\n' },
      { line: 'restart --machine m1 pin', code: 1, err: /Unable to restart unit pin\.service on machine m1: it is on machine/ },
      { line: 'restart --machine m3 pin', code: 0, out: 'Unit pin.service launched on 00000000.../10.77.0.3\n' },
      (rig) => assert.equal(rig.starts('pin.service'), 2),
    ],
  },
  // ── destroy ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'destroy: process and file are gone at its end; --no-block ends before, and a new one waits for the old',
    files: { 'gone.service': sleep },
    steps: [
      { line: 'start gone', code: 0, out: 'Unit gone.service inactive\nUnit gone.service launched MACHINE\n' },
      {
        line: 'destroy gone also-not-there',
        code: 0,
        out: 'Destroyed gone.service\n',
        err: 'also-not-there.service is not in the registry\n',
      },
      (rig) => {
        assert.deepEqual(rig.pids('gone.service'), [undefined, undefined, undefined]);
        for (const { files } of rig.live.machines) assert.equal(files.entries.has('gone.service'), false);
      },
      { line: 'start gone', code: 0, out: 'Unit gone.service inactive\nUnit gone.service launched MACHINE\n' },
      { line: 'destroy --no-block gone', code: 0, out: 'Destroyed gone.service\n' },
      { line: 'start gone', code: 0, out: 'Unit gone.service inactive\nUnit gone.service launched MACHINE\n' },
      (rig) => assert.equal(rig.starts('gone.service'), 3),
    ],
  },
  // ── GitSync ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: "SEMANTICS 26: verbs leave a GitSync's objects alone and name it, unless they are forced, and then say what will come of it",
    files: { 'kept.service': sleep, 'free.service': sleep },
    steps: [
      { line: 'start kept free', code: 0, out: /launched/ },
      (rig) =>
        rig.live.server.door.patch(
          'units',
          'kept.service',
          { type: 'merge', body: { metadata: { labels: { 'flotilla.dev/gitsync': 'site' } } } },
          { manager: 'gitsync/site' },
        ),
      remember('kept.service'),
      ...['stop', 'load', 'unload', 'restart', 'destroy'].map((verb) => ({
        line: `${verb} free kept`,
        code: 1,
        err: /^flotilla: kept\.service is kept by GitSync "site": change it in its repository\. With --force it is done here; /,
      })),
      { line: 'start --no-block kept', code: 0 },
      (rig) => rig.write('kept.service', unitFile('/bin/sleep 4')),
      { line: 'start --replace kept', code: 1, err: /is kept by GitSync "site"/ },
      // Nothing was done to its neighbour either: all is asked before the first write.
      (rig) => assert.deepEqual([rig.pids('kept.service'), rig.starts('free.service')], [remembered.get('kept.service'), 1]),
      {
        line: 'stop --force kept',
        code: 0,
        out: 'Unit kept.service loaded MACHINE\n',
        err: /^kept\.service is kept by GitSync "site": what is changed here will be reverted at its next sync\n/,
      },
      {
        line: 'restart --force kept',
        code: 0,
        out: 'Unit kept.service launched MACHINE\n',
        err: /a restart is nothing that a sync would revert\n/,
      },
      {
        line: 'destroy --force kept',
        code: 0,
        out: 'Destroyed kept.service\n',
        err: /it will be made anew at the next sync\n/,
      },
    ],
  },
  // ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  ...['submit', 'load', 'start', 'stop', 'unload', 'restart', 'destroy', 'cat'].map((verb) => ({
    name: `${verb}: no units and unknown flags are wrong usage`,
    steps: [
      { line: verb, code: 2, err: 'flotilla: No units given\n' },
      { line: `${verb} --no-such-flag x`, code: 2, err: /unknown option '--no-such-flag'/ },
      { line: `${verb} --help`, code: 0, out: new RegExp(`^Usage: flotilla ${verb} `) },
    ],
  })),
  {
    name: 'words of tutorials, and those that are nearly ours',
    steps: [
      { line: 'list_machines', code: 2, err: /did you mean "list-machines"\?/ },
      { line: 'destro x', code: 2, err: /did you mean "destroy"\?/ },
      { line: 'list-un', code: 2, err: /did you mean "list-units" or "list-unit-files"\?/ },
      { line: 'start --block-attempt 3 x', code: 2, err: /Did you mean --block-attempts\?/ },
      { line: 'start --block-attempts=soon x', code: 2, err: /expected a whole number/ },
      { line: 'start web.yaml', code: 2, err: /web\.yaml is a manifest and no unit file: flotilla apply -f web\.yaml/ },
      { line: 'help start', code: 0, out: /^Usage: flotilla start / },
    ],
  },
  {
    name: "global flags stand before or after the verb; a flag beats our variable, and ours beats fleet's",
    steps: [
      { line: '--endpoint unix:///none.sock list-machines', code: 1, err: /cannot reach unix:\/\/\/none\.sock/ },
      { line: 'list-machines --endpoint unix:///none.sock', code: 1, err: /cannot reach unix:\/\/\/none\.sock/ },
      { line: 'list-machines', env: { FLEETCTL_ENDPOINT: 'unix:///fleets.sock' }, code: 0, out: /^MACHINE/ },
      {
        line: 'list-machines',
        env: { FLOTILLA_ENDPOINT: '', FLEETCTL_ENDPOINT: 'unix:///fleets.sock' },
        code: 1,
        err: /unix:\/\/\/fleets\.sock/,
      },
      { line: 'list-machines --request-timeout=5.5', env: { FLEETCTL_REQUEST_TIMEOUT: 'never' }, code: 0, out: /^MACHINE/ },
      { line: 'list-machines', env: { FLEETCTL_REQUEST_TIMEOUT: 'never' }, code: 2, err: /FLEETCTL_REQUEST_TIMEOUT/ },
      {
        line: 'list-machines',
        env: { FLEETCTL_CA_FILE: '/none', FLOTILLA_ENDPOINT: 'https://127.0.0.1:1' },
        code: 2,
        err: /--ca-file \/none/,
      },
      { line: '--endpoint unix://var/run/x list-machines', code: 2, err: /begins with a slash: unix:\/\/\/var\/run\/x/ },
      { line: '--endpoint 127.0.0.1:7080 list-machines', code: 2, err: /URL scheme undefined/ },
      { line: '--driver etcd list-machines', code: 2, err: /servers alone talk with etcd/ },
      {
        line: '--driver API --etcd-key-prefix /x list-machines',
        code: 0,
        out: /^MACHINE/,
        err: '--etcd-key-prefix does nothing: servers alone talk with etcd\n',
      },
      {
        line: '--debug list-machines',
        code: 0,
        out: /^MACHINE/,
        err: /^debug: GET \/apis\/flotilla\.dev\/v1\/machines\?limit=500: 200 after \d+ ms\n$/,
      },
      { line: 'list-machines', env: { FLEETCTL_DEBUG: 'true' }, code: 0, out: /^MACHINE/, err: /^debug: GET/ },
      { line: 'list-machines', env: { FLEETCTL_DEBUG: 'false' }, code: 0, out: /^MACHINE/ },
    ],
  },
  // ── listings ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'listings: fields, legends, and JSON with whole values',
    files: { 'lst.service': unitFile(sleep, { sections: '[X-Fleet]\nMachineMetadata=az=z2\n' }), 'lstg.service': unitFile(sleep, global) },
    steps: [
      { line: 'load lst', code: 0, out: 'Unit lst.service inactive\nUnit lst.service loaded on 00000000.../10.77.0.2\n' },
      { line: 'submit lstg', code: 0, out: 'Unit lstg.service \n' },
      {
        line: 'list-unit-files --fields tmachine,unit --no-legend',
        code: 0,
        out: /^00000000\.\.\.\/10\.77\.0\.2\tlst\.service\n-\t\t\tlstg\.service$/m,
        err: 'WARNING: The "tmachine" field is deprecated. Use "target" instead\n',
      },
      { line: 'list-unit-files --fields=unit,nonsense', code: 2, err: /Invalid key in output format: "nonsense"/ },
      { line: 'list-unit-files --fields=', code: 2, err: 'flotilla: Must define output format\n' },
      { line: 'list-units --fields UNIT', code: 2, err: /Invalid key in output format: "UNIT"/ },
      { line: 'list-units -o yaml', code: 2, err: /expected one of json/ },
      {
        line: 'list-machines -o json --fields machine,metadata,ip',
        code: 0,
        out: `${JSON.stringify(
          [1, 2, 3].map((n) => ({ machine: `000000000000000000000000f1ee700${n}`, metadata: { az: `z${n}` }, ip: `10.77.0.${n}` })),
          undefined,
          2,
        )}\n`,
      },
      async (rig) => {
        const rows = JSON.parse((await rig.run('list-unit-files -o json')).stdout) as Record<string, unknown>[];
        const row = (unit: string) => rows.find((one) => one.unit === unit);
        const { hash, ...rest } = row('lst.service')!;
        assert.match(String(hash), /^[0-9a-f]{40}$/);
        const target = '000000000000000000000000f1ee7002';
        assert.deepEqual(rest, { unit: 'lst.service', dstate: 'loaded', state: 'loaded', target, global: false, desc: 'Hello' });
        assert.deepEqual(
          { ...row('lstg.service'), hash },
          { ...rest, hash, unit: 'lstg.service', dstate: 'inactive', state: null, target: 'global', global: true },
        );
        const units = JSON.parse((await rig.run('list-units -o json --fields unit,machine,load,active,sub')).stdout) as { unit: string }[];
        assert.deepEqual(
          units.find(({ unit }) => unit === 'lst.service'),
          { unit: 'lst.service', machine: target, load: 'loaded', active: 'inactive', sub: 'dead' },
        );
      },
    ],
  },
];

describe("fleet's verbs", () => {
  let rig: FleetRig;
  before(async () => {
    rig = await FleetRig.start();
  });
  after(() => {
    // A test that failed must not leave a stop that nobody lets go of.
    for (const { systemd } of rig.live.machines) systemd.release('hang.service');
    return rig.end();
  });

  for (const { name, files = {}, steps } of cases) {
    test(name, async () => {
      for (const [file, text] of Object.entries(files)) await rig.write(file, text.startsWith('/') ? unitFile(text) : text);
      for (const step of steps) {
        if (typeof step === 'function') await step(rig);
        else await take(step);
      }
      for (const { systemd } of rig.live.machines) assert.deepEqual(systemd.violations, []);
    });
  }

  async function take({ line, code, out = '', err = '', ...given }: Step): Promise<void> {
    const ran = await rig.run(line.replace('FOLDER', rig.folder), given);
    const expects = (what: string, text: string, wanted: string | RegExp) => {
      const plain = typeof wanted === 'string' && /on 00000000/.test(wanted) ? text : text.replace(on, 'MACHINE');
      if (typeof wanted === 'string') assert.equal(plain, wanted, `${what} of "${line}"; all: ${JSON.stringify(ran)}`);
      else assert.match(plain, wanted, `${what} of "${line}"`);
    };
    expects('stdout', ran.stdout, out);
    // On a busy computer a verb may say what it waits for; where that is not asked about, it is no part of its answer.
    expects('stderr', typeof err === 'string' ? ran.stderr.replace(/^[\w@-]+\.[a-z]+: .*\n/gm, '') : ran.stderr, err);
    assert.equal(ran.code, code, `exit code of "${line}"; ${JSON.stringify(ran)}`);
  }
});

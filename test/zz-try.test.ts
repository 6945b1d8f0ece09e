import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { TestCluster } from './rigs/cluster.js';

test('try', async () => {
  const cluster = await TestCluster.start({ machines: 1 });
  try {
    const m = cluster.dev.machines[0]!;
    await m.writeFile('/etc/systemd/system/docker.service', '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n');
    await m.must(['systemctl', 'daemon-reload']);
    const t = readFileSync('test/e2e/tutorials/pinned/nginx.service', 'utf8').replace(
      /^MachineID=.*$/m,
      `MachineID=${m.options.machineId}`,
    );
    await cluster.apply(
      JSON.stringify({ apiVersion: 'flotilla.dev/v1', kind: 'Unit', metadata: { name: 'nginx.service' }, spec: { content: t } }),
    );
    for (const s of [1500, 2000, 3000, 6000]) {
      await new Promise((r) => setTimeout(r, s));
      console.log(await cluster.dev.mustCli(['describe', 'unit', 'nginx.service']));
      console.log(
        await m.must(['systemctl', 'show', 'nginx.service']).then((x) =>
          x
            .split('\n')
            .filter((l) => /^(Result|ExecMain|ActiveState|SubState|NRestarts|ExecStartPre|StatusErrno|ExecStart)/.test(l))
            .join('\n'),
        ),
      );
    }
    console.log(await m.exec(['systemctl', 'status', 'nginx.service']));
  } finally {
    await cluster.stop();
  }
});

/** Three real machines for a measurement, with what a killed one left removed before and everything taken down after. */
import { mkdir } from 'node:fs/promises';
import { DevCluster, removeAbandonedClusters } from '../cli/roles/dev/cluster.js';
import { freePort } from '../cli/roles/dev/ports.js';

export async function onCluster<T>(program: string, measure: (cluster: DevCluster) => Promise<T>): Promise<T> {
  const parent = '/run/flotilla-bench';
  await mkdir(parent, { recursive: true });
  await removeAbandonedClusters(parent);
  const cluster = await DevCluster.start({ parent, program, machines: 3, httpPort: await freePort() });
  try {
    await cluster.untilMachinesReady();
    return await measure(cluster);
  } finally {
    await cluster.stop();
  }
}

/**
 * Sessions with the real kubectl: the newest one found goes through everything, over https with a kubeconfig; every version found goes
 * through a short session, over plain http. What the newest one is too old for is not asked of it, and the output says so.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { freePort } from '../../cli/roles/dev/ports.js';
import { TestCluster } from '../rigs/cluster.js';
import { findKubectls, Kubectl, type Step } from '../rigs/kubectl.js';
import { reading } from './kubectl/reading.js';
import { sets } from './kubectl/sets.js';
import { shortSession } from './kubectl/short.js';
import { writing } from './kubectl/writing.js';

const session: readonly Step[] = [...reading, ...writing, ...sets];
const home = await mkdtemp(join(tmpdir(), 'flotilla-kubectl-'));
/** Nothing of whoever runs the tests: no cache, no configuration. */
const { KUBECONFIG: _, ...inherited } = process.env;
const env = { ...inherited, HOME: home };
const found = await findKubectls(env);
const [newest] = found;
const httpPort = await freePort();
const kubeconfig = join(home, 'kubeconfig');

describe('kubectl', () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start({ machines: 1, httpPort });
    await writeFile(kubeconfig, await cluster.dev.mustCli(['kubeconfig']), { mode: 0o600 });
  });
  after(async () => {
    await cluster?.stop();
    await rm(home, { recursive: true, force: true });
  });

  describe(`${newest.version}: the whole session, over https`, { concurrency: 2 }, () => {
    const kubectl = new Kubectl(newest, 'whole', [`--kubeconfig=${kubeconfig}`], env);
    const has = ({ since = 0 }: Step) => newest.minor >= since;
    const lacks = session.filter((step) => !has(step)).map(({ name }) => name);
    if (lacks.length > 0) console.log(`kubectl ${newest.version} is too old for: ${lacks.join('; ')}`);
    for (const step of session.filter(has)) test(step.name, () => step.run(kubectl));
    after(() => kubectl.must(['delete', 'units', '-l', 'session=whole', '--wait=false']));
  });

  describe('every version found: the short session, over http', { concurrency: 2 }, () => {
    for (const [index, binary] of found.entries()) {
      const kubectl = new Kubectl(binary, `k${binary.minor}-${index}`, [`--server=http://127.0.0.1:${httpPort}`], env);
      test(`${binary.version} (${binary.path})`, () => shortSession(kubectl));
    }
  });
});

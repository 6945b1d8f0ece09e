/** Previews run git for whoever asks: few at a time, and not for those who have gone. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { parseGitUrl } from '../../../../api/resources/git-url.js';
import { gitPreviewRoute, type PreviewGitSync } from '../../../../api/server/git/preview.js';
import { until } from '../../../../cli/roles/dev/managed-process.js';
import { systemClock } from '../../../../runtime/clock.js';
import { openRepositories } from '../../../../runtime/git/repositories.js';
import { silentLogger } from '../../../../runtime/log.js';
import { directory } from '../../../runtime/git/rig.js';
import { startRig } from '../rig.js';

async function previews(t: TestContext, preview: PreviewGitSync, limits?: { all: number; perIdentity: number }) {
  const closing = new AbortController();
  const rig = await startRig({
    extraPlugins: [(routes) => routes.add(gitPreviewRoute({ preview, closing: closing.signal, ...(limits ? { limits } : {}) }))],
  });
  t.after(() => rig.close());
  const path = '/apis/flotilla.dev/v1/gitsyncs/prod/preview';
  /** A client that can go. */
  const ask = () => {
    const request = http.get({ port: rig.port, host: '127.0.0.1', path, agent: false });
    const status = once(request, 'response').then(([response]) => (response as http.IncomingMessage).resume().statusCode);
    status.catch(() => {});
    return { leave: () => request.destroy(), status };
  };
  return { rig, ask, path, closing };
}

const nothing = { revision: 'main@sha1:0', objects: [], problems: [] };

test('more than a few at a time are refused, and a client that goes makes room', async (t) => {
  const asked: AbortSignal[] = [];
  let finish = () => {};
  const { rig, ask, path } = await previews(
    t,
    (_name, signal) => {
      asked.push(signal);
      return new Promise((resolve, reject) => {
        finish = () => resolve(nothing);
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    },
    { all: 5, perIdentity: 2 },
  );
  const [first, second] = [ask(), ask()];
  await until('both are at work', async () => asked.length === 2);
  const refused = await rig.get(path);
  assert.equal(refused.status, 429);
  assert.match(refused.text, /too many previews of GitSyncs are open/);
  first.leave();
  await until('its work is given up', async () => asked[0]!.aborted);
  assert.equal(asked[1]!.aborted, false);
  const third = ask();
  await until('there is room', async () => asked.length === 3);
  finish();
  assert.equal(await third.status, 200);
  second.leave();
});

test('a server that stops waits for none of them', async (t) => {
  const { rig, path, closing } = await previews(
    t,
    (_name, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  );
  const answer = rig.get(path);
  setTimeout(() => closing.abort(), 50);
  assert.equal((await answer).status, 503);
});

test('git ends with the client that it ran for', async (t) => {
  // A forge that takes the call and says nothing.
  const forge = createServer();
  let calls = 0;
  let hungUp = 0;
  forge.on('connection', (socket) => {
    calls++;
    socket.on('error', () => {});
    socket.on('close', () => hungUp++);
    socket.resume();
  });
  forge.listen(0, '127.0.0.1');
  await once(forge, 'listening');
  t.after(() => forge.close());
  const { port } = forge.address() as { port: number };
  const url = parseGitUrl(`http://127.0.0.1:${port}/x.git`);
  assert.ok(!('problem' in url));
  const repositories = openRepositories({ directory: directory(t), fileRoots: [], clock: systemClock, log: silentLogger });
  const { ask } = await previews(t, async (_name, signal) => {
    await repositories.resolve({ url, timeoutMs: 600_000, signal }, {});
    return nothing;
  });
  const client = ask();
  await until('git has called', async () => calls === 1);
  client.leave();
  await until('git has hung up', async () => hungUp === 1);
});

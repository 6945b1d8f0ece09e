import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { parseYaml } from '../../../../api/resources/yaml.js';
import { ask, type Cluster, newCluster, type Server } from '../agents/rig.js';

let cluster: Cluster;
let server: Server;
before(async () => {
  cluster = await newCluster();
  server = await cluster.startServer('alpha');
});
after(() => cluster.close());

async function overUnixSocket(body: object): Promise<{ status: number; json: { kubeconfig: string; message: string } }> {
  const request = http.request({
    socketPath: server.socketPath,
    method: 'POST',
    path: '/apis/flotilla.dev/v1/kubeconfigs',
    headers: { 'content-type': 'application/json' },
  });
  request.end(JSON.stringify(body));
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode ?? 0, json: JSON.parse(text) };
}

interface Kubeconfig {
  readonly clusters: { cluster: { server: string; 'certificate-authority-data': string } }[];
  readonly users: { user: { 'client-certificate-data': string; 'client-key-data': string } }[];
  readonly 'current-context': string;
}

test('a kubeconfig holds all that is needed to be an admin over https', async () => {
  const { status, json } = await overUnixSocket({ name: 'ann@desk' });
  assert.equal(status, 201, json.message);
  const config = parseYaml(json.kubeconfig) as Kubeconfig;
  const { cluster: target } = config.clusters[0]!;
  const { user } = config.users[0]!;
  assert.equal(target.server, server.url);
  assert.equal(config['current-context'], 'ann@desk@flotilla');
  const text = (data: string) => Buffer.from(data, 'base64').toString();
  const credentials = {
    ca: text(target['certificate-authority-data']),
    cert: text(user['client-certificate-data']),
    key: text(user['client-key-data']),
  };
  const answer = await ask({ url: target.server, ca: credentials.ca }, 'GET', '/apis/flotilla.dev/v1/units', { credentials });
  assert.equal(answer.status, 200, answer.text);
});

for (const [what, body] of Object.entries({
  "a server's name": { name: 'system:server:alpha' },
  'a name with a newline': { name: 'ann\nO=x' },
  'a plain http URL': { server: 'http://10.0.0.1:7080' },
  'a life of ten years': { days: 3650 },
  'an unknown field': { user: 'ann' },
})) {
  test(`a kubeconfig for ${what} is refused`, async () => {
    const { status, json } = await overUnixSocket(body);
    assert.equal(status, 400);
    assert.equal(json.kubeconfig, undefined);
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authorize } from '../../../api/server/authorize.js';
import type { Identity, RequestAttributes } from '../../../api/server/identity.js';

const local: Identity = { kind: 'admin', name: 'local-admin', via: 'unix-socket' };
const remote: Identity = { kind: 'admin', name: 'ann', via: 'certificate' };
const loopback: Identity = { kind: 'admin', name: 'loopback', via: 'insecure-loopback' };
const machine: Identity = { kind: 'machine', machine: 'a'.repeat(32), uid: '1' };
const nobody: Identity = { kind: 'anonymous' };

const who = { 'local admin': local, 'remote admin': remote, 'loopback admin': loopback, machine, nobody };
const everyone = Object.keys(who);
const admins = ['local admin', 'remote admin', 'loopback admin'];

const table: { what: string; attributes: RequestAttributes; allowed: string[] }[] = [
  { what: 'ask whether the server lives', attributes: { path: '/healthz', method: 'get' }, allowed: everyone },
  { what: 'ask whether it is ready', attributes: { path: '/readyz', method: 'GET' }, allowed: everyone },
  { what: 'ask its version', attributes: { path: '/version', method: 'get' }, allowed: everyone },
  { what: 'join with a token', attributes: { path: '/agent/v1/join', method: 'post' }, allowed: everyone },
  { what: 'write to the health path', attributes: { path: '/healthz', method: 'post' }, allowed: admins },
  { what: 'go below a path that is exact', attributes: { path: '/version/x', method: 'get' }, allowed: admins },
  { what: 'open an agent stream', attributes: { path: '/agent/v1/stream', method: 'get' }, allowed: [...admins, 'machine'] },
  { what: 'send a journal', attributes: { path: '/agent/v1/logs/abc', method: 'get' }, allowed: [...admins, 'machine'] },
  { what: 'renew a machine certificate', attributes: { path: '/agent/v1/renew', method: 'post' }, allowed: [...admins, 'machine'] },
  { what: 'list journals', attributes: { path: '/agent/v1/logs', method: 'get' }, allowed: admins },
  { what: 'scrape metrics', attributes: { path: '/metrics', method: 'get' }, allowed: admins },
  { what: 'make a join token', attributes: { resource: 'tokens', verb: 'create' }, allowed: admins },
  {
    what: 'issue a client certificate',
    attributes: { resource: 'kubeconfigs', verb: 'create' },
    allowed: ['local admin', 'loopback admin'],
  },
  { what: 'use a path that nobody listed', attributes: { path: '/debug', method: 'get' }, allowed: admins },
  { what: 'read its own Machine', attributes: { resource: 'machines', name: 'a'.repeat(32), verb: 'get' }, allowed: admins },
  { what: 'list assignments', attributes: { resource: 'assignments', verb: 'list' }, allowed: admins },
  { what: 'watch secrets', attributes: { resource: 'secrets', verb: 'watch' }, allowed: admins },
  { what: 'write a status', attributes: { resource: 'units', subresource: 'status', name: 'web.service', verb: 'patch' }, allowed: admins },
];

for (const { what, attributes, allowed } of table) {
  test(`authorize: ${allowed.join(', ')} may ${what}, nobody else`, () => {
    const may = Object.entries(who).filter(([, identity]) => authorize(identity, attributes).allowed);
    assert.deepEqual(
      may.map(([name]) => name),
      allowed,
    );
  });
}

test('authorize: a refusal says who may not do what', () => {
  assert.deepEqual(authorize(machine, { resource: 'units', name: 'web.service', verb: 'delete' }), {
    allowed: false,
    reason: `machine ${'a'.repeat(32)} may not delete units web.service: a machine has its own stream and nothing else`,
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isImplicit } from '../../agent/implicit-units.js';

const isGiven = (name: string, active: string) => isImplicit(name, { id: name, load: 'loaded', active, sub: active });

for (const { name, active = 'inactive', may } of [
  { name: 'team.slice', may: true },
  { name: 'team.slice', active: 'active', may: true },
  { name: 'team-web.slice', may: true },
  { name: '-.slice', may: false },
  { name: 'system.slice', active: 'active', may: false },
  { name: 'system-getty.slice', may: false },
  { name: 'user-1000.slice', may: false },
  { name: 'systemd-like.slice', may: true },
  { name: 'dev-sda9.device', may: true },
  { name: 'dev-sda.device', active: 'active', may: false },
  { name: 'made-up.service', may: false },
]) {
  test(`${name}, ${active} and without a file, ${may ? 'may be given one' : "is the machine's own"}`, () =>
    assert.equal(isGiven(name, active), may));
}

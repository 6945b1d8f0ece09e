import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide, id, type Words } from './worlds.js';

interface Case extends Words {
  readonly name: string;
  readonly says: Record<string, string>;
  readonly why?: Record<string, string>;
}

const three = { m1: {}, m2: {}, m3: {} };
const cases: readonly Case[] = [
  // --- least loaded --------------------------------------------------------------------------------------------------------------
  { name: 'no machine yet', units: { a: {} }, says: { a: 'unschedulable' }, why: { a: 'there is no machine yet' } },
  {
    name: 'the least loaded machine, then the smallest id',
    machines: three,
    units: { a: {}, b: {}, c: {}, d: {}, old: {} },
    on: { old: 'm1' },
    says: { a: 'place m2', b: 'place m3', c: 'place m1', d: 'place m2', old: 'stay m1' },
  },
  {
    name: 'a new machine moves nothing',
    machines: three,
    units: { a: {}, b: {} },
    on: { a: 'm1', b: 'm1' },
    says: { a: 'stay m1', b: 'stay m1' },
  },
  {
    name: 'inactive units and templates are on no machine',
    machines: three,
    units: { a: { wanted: 'inactive' }, 'x@': { wanted: 'inactive', template: true }, b: { deleting: true } },
    on: { b: 'm1' },
    says: { a: 'nowhere', b: 'nowhere', 'x@': 'nowhere' },
    why: {
      a: 'the desired state of a is inactive',
      b: 'b is being deleted; waiting for machine m1000000 to stop it',
      'x@': 'x@ is a template: its instances are placed, not it',
    },
  },
  {
    name: 'a loaded unit is placed like a launched one',
    machines: { m1: {} },
    units: { a: { wanted: 'loaded' } },
    says: { a: 'place m1' },
  },

  // --- sets -----------------------------------------------------------------------------------------------------------------------
  {
    name: 'units of a set keep apart first, and look for the least loaded machine then',
    machines: three,
    units: { o1: {}, o2: {}, o3: {}, w1: { spread: 'w' }, w2: { spread: 'w' }, w3: { spread: 'w' }, w4: { spread: 'w' } },
    on: { o1: 'm1', o2: 'm1', o3: 'm1' },
    says: {
      o1: 'stay m1',
      o2: 'stay m1',
      o3: 'stay m1',
      w1: 'place m2',
      w2: 'place m3',
      w3: 'place m1',
      w4: 'place m2',
    },
  },
  {
    name: 'a unit of a set goes where fewest siblings are among the machines that take it',
    machines: { m1: { cordoned: true }, m2: {}, m3: {} },
    units: { w1: { spread: 'w' }, w2: { spread: 'w' }, w3: { spread: 'w' }, o1: {}, w4: { spread: 'w' }, v1: { spread: 'v' } },
    on: { w1: 'm2', w2: 'm2', w3: 'm3', o1: 'm3' },
    says: { w1: 'stay m2', w2: 'stay m2', w3: 'stay m3', o1: 'stay m3', w4: 'place m3', v1: 'place m2' },
  },
  {
    name: 'a unit of a set whose machine is lost goes where no sibling is',
    machines: { m1: { health: 'lost' }, m2: {}, m3: {}, m4: {} },
    units: { w1: { spread: 'w' }, w2: { spread: 'w' }, w3: { spread: 'w' }, o1: {} },
    on: { w1: 'm1', w2: 'm2', w3: 'm3', o1: 'm4' },
    says: { w1: 'place m4, given up on m1', w2: 'stay m2', w3: 'stay m3', o1: 'stay m4' },
  },

  // --- MachineID, metadata, selectors ---------------------------------------------------------------------------------------------
  { name: 'machineID in full', machines: three, units: { a: { machineID: id('m2') } }, says: { a: 'place m2' } },
  { name: 'machineID as its first 8 characters', machines: three, units: { a: { machineID: 'm3000000' } }, says: { a: 'place m3' } },
  {
    name: 'machineID that no machine has',
    machines: three,
    units: { a: { machineID: 'm9000000' } },
    says: { a: 'unschedulable' },
    why: { a: 'there is no machine m9000000' },
  },
  {
    name: 'machineID as 8 characters that two machines share is refused',
    machines: { m1: {}, m1000000a: {} },
    units: { a: { machineID: 'm1000000' } },
    says: { a: 'unschedulable' },
    why: { a: 'more than one machine id begins with m1000000: name it in full' },
  },
  {
    name: 'machineID of a machine that is cordoned',
    machines: { m1: { cordoned: true }, m2: {} },
    units: { a: { machineID: id('m1') } },
    says: { a: 'unschedulable' },
    why: { a: 'machine m1000000: cordoned' },
  },
  {
    name: 'metadata: values of a key are alternatives, different keys must all match',
    machines: {
      m1: { labels: { region: 'eu' } },
      m2: { labels: { region: 'us', disk: 'ssd' } },
      m3: { labels: { region: 'eu', disk: 'ssd' } },
    },
    units: { a: { metadata: { region: ['eu', 'ap'], disk: ['ssd'] } }, b: { metadata: { region: ['eu', 'us'] } } },
    says: { a: 'place m3', b: 'place m1' },
  },
  {
    name: 'metadata that no machine has',
    machines: { m1: { labels: { region: 'eu' } }, m2: {} },
    units: { a: { metadata: { region: ['us'] } } },
    says: { a: 'unschedulable' },
    why: { a: '2 machines: no metadata region=us' },
  },
  {
    name: 'a label is not inherited from Object',
    machines: { m1: {} },
    units: { a: { selector: { matchExpressions: [{ key: 'constructor', operator: 'Exists' }] } } },
    says: { a: 'unschedulable' },
    why: { a: '1 machine: no label constructor' },
  },
  {
    name: 'label selectors',
    machines: { m1: { labels: { tier: 'gold' } }, m2: { labels: { tier: 'lead' } }, m3: {} },
    units: {
      exists: { selector: { matchExpressions: [{ key: 'tier', operator: 'Exists' }] } },
      in: { selector: { matchExpressions: [{ key: 'tier', operator: 'In', values: ['lead', 'tin'] }] } },
      label: { selector: { matchLabels: { tier: 'gold' } } },
      none: { selector: { matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] } },
      notIn: { selector: { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['gold', 'lead'] }] } },
    },
    says: { exists: 'place m1', in: 'place m2', label: 'place m1', none: 'place m3', notIn: 'place m3' },
  },
  {
    name: 'a changed label moves the unit: it stops first',
    machines: { m1: { labels: { region: 'us' } }, m2: { labels: { region: 'eu' } } },
    units: { a: { metadata: { region: ['eu'] } } },
    on: { a: 'm1' },
    says: { a: 'leave m1' },
    why: { a: 'waiting for machine m1000000 to stop it: machine m1000000: no metadata region=eu' },
  },
  {
    name: 'and is placed only once the old copy is gone',
    machines: { m1: {}, m2: {} },
    units: { a: {} },
    on: { a: 'leaving m1' },
    says: { a: 'wait' },
    why: { a: 'waiting for machine m1000000 to stop it' },
  },

  // --- cordon, taints -------------------------------------------------------------------------------------------------------------
  {
    name: 'cordon keeps new units away and moves none',
    machines: { m1: { cordoned: true }, m2: { cordoned: true } },
    units: { a: {}, b: {} },
    on: { a: 'm1' },
    says: { a: 'stay m1', b: 'unschedulable' },
    why: { b: '2 machines: cordoned' },
  },
  {
    name: 'NoSchedule keeps new units away, NoExecute moves old ones too, unless tolerated',
    machines: {
      m1: { taints: [{ key: 'gpu', effect: 'NoSchedule' }] },
      m2: { taints: [{ key: 'bad', value: 'yes', effect: 'NoExecute' }] },
    },
    units: {
      moves: {},
      new: {},
      stays: {},
      tolerant: { tolerations: [{ key: 'gpu', operator: 'Exists' }] },
      tough: { tolerations: [{ key: 'bad', value: 'yes' }] },
      weak: { tolerations: [{ key: 'bad', value: 'no' }] },
    },
    on: { stays: 'm1', moves: 'm2', tough: 'm2' },
    says: { moves: 'leave m2', new: 'unschedulable', stays: 'stay m1', tolerant: 'place m1', tough: 'stay m2', weak: 'unschedulable' },
    why: { new: '1 machine: taint bad=yes:NoExecute, 1: taint gpu:NoSchedule' },
  },

  // --- Conflicts --------------------------------------------------------------------------------------------------------------------
  {
    name: 'conflicts spread units over machines and say who is in the way',
    machines: { m1: {}, m2: {}, m3: { cordoned: true } },
    units: { 'web@1': { conflicts: ['web@*'] }, 'web@2': { conflicts: ['web@*'] }, 'web@3': { conflicts: ['web@*'] } },
    says: { 'web@1': 'place m1', 'web@2': 'place m2', 'web@3': 'unschedulable' },
    why: { 'web@3': '1 machine: conflict with web@1, 1: conflict with web@2, 1: cordoned' },
  },
  {
    name: 'a conflict works both ways, whoever names it',
    machines: { m1: {} },
    units: { 'a-old': { conflicts: ['b*'] }, 'b-new': {} },
    on: { 'a-old': 'm1' },
    says: { 'a-old': 'stay m1', 'b-new': 'unschedulable' },
    why: { 'b-new': '1 machine: conflict with a-old' },
  },
  { name: 'never with itself', machines: { m1: {} }, units: { a: { conflicts: ['*'] } }, on: { a: 'm1' }, says: { a: 'stay m1' } },
  {
    name: 'of two that conflict now, the one whose spec changed moves',
    machines: { m1: {}, m2: {} },
    units: { a: {}, b: { conflicts: ['a'] } },
    on: { a: 'm1', b: 'old m1' },
    says: { a: 'stay m1', b: 'leave m1' },
    why: { b: 'waiting for machine m1000000 to stop it: conflict with a' },
  },
  {
    name: 'a copy that is on its way out still keeps its place',
    machines: { m1: {} },
    units: { a: { conflicts: ['b'] }, b: { wanted: 'inactive' } },
    on: { b: 'leaving m1' },
    says: { a: 'unschedulable', b: 'nowhere' },
    why: { a: '1 machine: conflict with b' },
  },

  // --- Replaces ---------------------------------------------------------------------------------------------------------------------
  {
    name: 'a replacer lands where its victim is and waits for it to give way',
    machines: { m1: {} },
    units: { a: { replaces: ['v*'] }, v1: {} },
    on: { v1: 'm1' },
    says: { a: 'place m1, not started', v1: 'leave m1' },
    why: { a: 'on machine m1000000, waiting for v1 to give way' },
  },
  {
    name: 'the victim then leaves, under its own constraints',
    machines: { m1: {}, m2: { cordoned: true } },
    units: { a: { replaces: ['v*'] }, v1: {}, v2: {} },
    on: { a: 'loaded m1', v1: 'm1' },
    says: { a: 'stay m1, not started', v1: 'leave m1', v2: 'unschedulable' },
    why: { v1: 'waiting for machine m1000000 to stop it: replaced by a', v2: '1 machine: cordoned, 1: replaced by a' },
  },
  {
    name: 'two that replace each other are left alone',
    machines: { m1: {} },
    units: { a: { replaces: ['b'] }, b: { replaces: ['a'] } },
    on: { a: 'm1', b: 'm1' },
    says: { a: 'stay m1', b: 'stay m1' },
  },

  // --- capacity ---------------------------------------------------------------------------------------------------------------------
  {
    name: 'requests are set aside, and what does not fit says so',
    machines: { m1: { capacity: { cpuMillis: 1000, memoryBytes: 100 } }, m2: { capacity: { cpuMillis: 4000, memoryBytes: 100 } }, m3: {} },
    units: {
      a: { requests: { cpuMillis: 800, memoryBytes: 10 } },
      b: { requests: { cpuMillis: 800, memoryBytes: 10 } },
      c: { requests: { cpuMillis: 800, memoryBytes: 80 } },
      d: { requests: { cpuMillis: 100, memoryBytes: 200 } },
    },
    says: { a: 'place m1', b: 'place m2', c: 'place m2', d: 'unschedulable' },
    why: { d: '2 machines: too little memory, 1: capacity not known' },
  },

  // --- Global -----------------------------------------------------------------------------------------------------------------------
  {
    name: 'a global unit runs on every machine that suits it',
    machines: {
      m1: { labels: { a: 'b' } },
      m2: {},
      m3: { labels: { a: 'b' }, cordoned: true },
      m4: { labels: { a: 'b' }, health: 'lost' },
    },
    units: { g: { global: true, metadata: { a: ['b'] } } },
    says: { g: 'place m1; not m2 m3 m4' },
    why: { g: 'm2: no metadata a=b, m3: cordoned, m4: not answering' },
  },
  {
    name: 'a global unit keeps off machines with whom it conflicts, and leaves where it no longer belongs',
    machines: { m1: {}, m2: { labels: { gone: 'x' } }, m3: {} },
    units: { g: { global: true, conflicts: ['a'], selector: { matchExpressions: [{ key: 'gone', operator: 'DoesNotExist' }] } }, a: {} },
    on: { a: 'm1', g: ['m2', 'm3'] },
    says: { a: 'stay m1', g: 'leave m2; not m1' },
    why: { g: 'm2: has label gone, m1: conflict with a' },
  },
  {
    name: 'a unit that conflicts with a global one finds no machine',
    machines: { m1: {}, m2: {} },
    units: { g: { global: true }, a: { conflicts: ['g'] } },
    on: { g: ['m1', 'm2'] },
    says: { a: 'unschedulable', g: 'nothing' },
    why: { a: '2 machines: conflict with g' },
  },
  {
    name: 'a global unit stays on a drained or lost machine',
    machines: { m1: { draining: true }, m2: { health: 'lost' } },
    units: { g: { global: true } },
    on: { g: ['m1', 'm2'] },
    says: { g: 'nothing' },
  },

  // --- MachineOf --------------------------------------------------------------------------------------------------------------------
  {
    name: 'SEMANTICS 21: a group is placed as one, where all of it fits',
    machines: { m1: {}, m2: { labels: { disk: 'ssd' } } },
    units: { lead: {}, side: { machineOf: ['lead'], metadata: { disk: ['ssd'] } } },
    says: { lead: 'place m2', side: 'place m2' },
  },
  {
    name: 'a follower goes to the machine of its leader, or says why it cannot',
    machines: { m1: {}, m2: {} },
    units: { lead: {}, ok: { machineOf: ['lead'] }, bad: { machineOf: ['lead'], conflicts: ['lead*', 'x'] } },
    on: { lead: 'm2', x: 'm2' },
    says: { bad: 'unschedulable', lead: 'stay m2', ok: 'place m2' },
  },
  {
    name: 'one follower that fits nowhere does not keep the others from running',
    machines: { m1: {} },
    units: { lead: {}, bad: { machineOf: ['lead'], metadata: { disk: ['ssd'] } }, ok: { machineOf: ['lead'] } },
    says: { bad: 'unschedulable', lead: 'place m1', ok: 'place m1' },
    why: { bad: 'it follows lead to machine m1000000: no metadata disk=ssd' },
  },
  {
    name: 'a follower without its leader waits and says for whom',
    machines: { m1: {} },
    units: {
      a: { machineOf: ['missing'] },
      b: { machineOf: ['idle'] },
      idle: { wanted: 'inactive' },
      g: { global: true },
      c: { machineOf: ['g'] },
      d: { machineOf: ['b'] },
    },
    says: { a: 'unschedulable', b: 'unschedulable', c: 'unschedulable', d: 'unschedulable', g: 'place m1', idle: 'nowhere' },
    why: {
      a: 'it follows missing (machineOf), which does not exist',
      b: 'it follows idle (machineOf): the desired state of idle is inactive',
      c: 'it follows g (machineOf), which is a global unit and has no one machine',
      d: 'it follows b (machineOf): it follows idle (machineOf): the desired state of idle is inactive',
    },
  },
  {
    name: 'a circle is never scheduled, and neither is who follows it',
    machines: { m1: {} },
    units: {
      a: { machineOf: ['b'] },
      b: { machineOf: ['c'] },
      c: { machineOf: ['a'] },
      self: { machineOf: ['self'] },
      fan: { machineOf: ['self'] },
    },
    says: { a: 'unschedulable', b: 'unschedulable', c: 'unschedulable', fan: 'unschedulable', self: 'unschedulable' },
    why: { a: 'machineOf goes in a circle: a → b → c → a', self: 'machineOf goes in a circle: self → self' },
  },
  {
    name: 'SEMANTICS 21: when the leader has to leave, followers stop first',
    machines: { m1: {}, m2: { labels: { disk: 'ssd' } } },
    units: { lead: { metadata: { disk: ['ssd'] } }, side: { machineOf: ['lead'] } },
    on: { lead: 'm1', side: 'm1' },
    says: { lead: 'stay m1', side: 'leave m1' },
    why: { lead: 'is to leave machine m1000000 (machine m1000000: no metadata disk=ssd); waiting for its follower side to stop first' },
  },
  {
    name: 'SEMANTICS 21: then the leader',
    machines: { m1: {}, m2: { labels: { disk: 'ssd' } } },
    units: { lead: { metadata: { disk: ['ssd'] } }, side: { machineOf: ['lead'] } },
    on: { lead: 'm1' },
    says: { lead: 'leave m1', side: 'wait' },
  },
  {
    name: 'SEMANTICS 21: and the followers start after the leader',
    machines: { m1: {}, m2: { labels: { disk: 'ssd' } } },
    units: { lead: { metadata: { disk: ['ssd'] }, moving: true }, side: { machineOf: ['lead'], moving: true } },
    says: { lead: 'place m2', side: 'place m2, not started' },
    why: { side: 'on machine m2000000, waiting for lead to start' },
  },
  {
    name: 'SEMANTICS 21: once it has started, they do',
    machines: { m1: {}, m2: {} },
    units: { lead: {}, side: { machineOf: ['lead'] }, late: { machineOf: ['new'] }, new: {} },
    on: { lead: 'm2', side: 'loaded m2', new: 'new m1', late: 'loaded m1' },
    says: { late: 'stay m1, not started', lead: 'stay m2', new: 'stay m1', side: 'stay m2' },
  },
  {
    name: 'leaders that run apart',
    machines: { m1: {}, m2: {} },
    units: { a: {}, b: {}, c: { machineOf: ['a', 'b'] } },
    on: { a: 'm1', b: 'm2' },
    says: { a: 'stay m1', b: 'stay m2', c: 'unschedulable' },
    why: { c: 'the units that it follows run apart: a on m1000000, b on m2000000' },
  },
  {
    name: 'two leaders that cannot share a machine run, and who follows both says so',
    machines: { m1: {}, m2: {} },
    units: { a: {}, b: { conflicts: ['a'] }, c: { machineOf: ['a', 'b'] } },
    says: { a: 'place m1', b: 'place m2', c: 'unschedulable' },
    why: { c: 'the units that it follows run apart: a on m1000000, b on m2000000' },
  },
  {
    name: 'a follower that replaces whom it follows is never placed',
    machines: { m1: {} },
    units: { a: {}, b: { machineOf: ['a'] }, c: { machineOf: ['b'], replaces: ['a'] } },
    says: { a: 'place m1', b: 'place m1', c: 'unschedulable' },
    why: { c: 'it replaces a, which it follows (machineOf)' },
  },
  {
    name: 'a leader that comes back goes where its followers are',
    machines: { m1: {}, m2: {} },
    units: { a: {}, b: {}, lead: {}, side: { machineOf: ['lead'] } },
    on: { a: 'm2', b: 'm2', side: 'm2' },
    says: { a: 'stay m2', b: 'stay m2', lead: 'place m2', side: 'stay m2' },
  },

  // --- failover ---------------------------------------------------------------------------------------------------------------------
  {
    name: 'SEMANTICS 20: atLeastOnce moves as soon as its machine is lost, stay does not',
    machines: { m1: { health: 'lost' }, m2: {} },
    units: { a: {}, b: { policy: 'stay' } },
    on: { a: 'm1', b: 'm1' },
    says: { a: 'place m2, given up on m1', b: 'stay m1' },
    why: { b: 'machine m1000000 does not answer; it stays there: failover policy is stay' },
  },
  {
    name: 'SEMANTICS 22: while caution lasts nothing moves, and new units are still placed',
    machines: { m1: { health: 'held', heldWhy: 'it does not answer' }, m2: {} },
    units: { a: {}, b: {} },
    on: { a: 'm1' },
    says: { a: 'stay m1', b: 'place m2' },
    why: { a: 'on machine m1000000: it does not answer' },
  },
  {
    name: 'a lost unit with nowhere to go stays assigned',
    machines: { m1: { health: 'lost' }, m2: { cordoned: true } },
    units: { a: {} },
    on: { a: 'm1' },
    says: { a: 'stay m1' },
    why: { a: 'machine m1000000 does not answer, and there is nowhere else to go: 1 machine: cordoned, 1: not answering' },
  },
  {
    name: 'SEMANTICS 21: a lost group moves as one, the leader first',
    machines: { m1: { health: 'lost' }, m2: {}, m3: {} },
    units: { lead: {}, side: { machineOf: ['lead'] } },
    on: { lead: 'm1', side: 'm1' },
    says: { lead: 'place m2, given up on m1', side: 'place m2, not started, given up on m1' },
  },
  {
    name: 'SEMANTICS 21: by its strictest policy',
    machines: { m1: { health: 'lost' }, m2: {} },
    units: { lead: {}, side: { machineOf: ['lead'], policy: 'stay' } },
    on: { lead: 'm1', side: 'm1' },
    says: { lead: 'stay m1', side: 'stay m1' },
    why: { lead: 'machine m1000000 does not answer; it stays there: failover policy of side is stay' },
  },
  {
    name: 'an old copy on a lost machine does not keep a new one from being placed, if a second copy may run',
    machines: { m1: { health: 'lost' }, m2: {} },
    units: { a: {}, b: { policy: 'stay' } },
    on: { a: 'leaving m1', b: 'leaving m1' },
    says: { a: 'place m2', b: 'wait' },
    why: { b: 'waiting for machine m1000000 to stop it, which does not answer: failover policy is stay' },
  },

  // --- drain ------------------------------------------------------------------------------------------------------------------------
  {
    name: 'drain moves one unit at a time; pinned and global ones stay and are named',
    machines: { m1: { draining: true }, m2: {} },
    units: { a: {}, b: {}, g: { global: true }, p: { machineID: id('m1') } },
    on: { a: 'm1', b: 'm1', g: ['m1', 'm2'], p: 'm1' },
    says: { a: 'leave m1', b: 'stay m1', g: 'nothing', p: 'stay m1' },
    why: {
      a: 'waiting for machine m1000000 to stop it: machine m1000000 is being drained',
      b: 'machine m1000000 is being drained, but a moves first',
      p: 'machine m1000000 is being drained, but it is pinned to it by machineID',
    },
  },
  {
    name: 'drain waits for the unit that is on its way',
    machines: { m1: { draining: true, drainBusy: 'a' }, m2: {} },
    units: { a: {}, b: {} },
    on: { a: 'new m2', b: 'm1' },
    says: { a: 'stay m2', b: 'stay m1' },
  },
  {
    name: 'drain stops nothing that could not run elsewhere',
    machines: { m1: { draining: true }, m2: { cordoned: true } },
    units: { a: {} },
    on: { a: 'm1' },
    says: { a: 'stay m1' },
    why: { a: 'machine m1000000 is being drained, but there is nowhere else to go: 1 machine: being drained, 1: cordoned' },
  },
  {
    name: 'SEMANTICS 22: drain waits while caution lasts',
    machines: { m1: { draining: true }, m2: {} },
    units: { a: {} },
    on: { a: 'm1' },
    caution: '2 of 3 machines vanished together',
    says: { a: 'stay m1' },
    why: { a: 'machine m1000000 is being drained, but nothing is moved: 2 of 3 machines vanished together' },
  },
  {
    name: 'what cannot be read is left as it is',
    machines: { m1: {}, m2: {} },
    units: { a: { broken: 'its template x@.service does not exist' }, b: { broken: 'its template x@.service does not exist' } },
    on: { a: 'm1' },
    says: { a: 'stay m1', b: 'unschedulable' },
    why: {
      a: 'its template x@.service does not exist; what runs on machine m1000000 is left as it is',
      b: 'its template x@.service does not exist',
    },
  },
];

for (const { name, says, why = {}, ...words } of cases) {
  test(`plan: ${name}`, () => {
    const decided = decide(words);
    assert.deepEqual(decided.says, says);
    for (const [unit, sentence] of Object.entries(why)) assert.equal(decided.why[unit], sentence);
  });
}

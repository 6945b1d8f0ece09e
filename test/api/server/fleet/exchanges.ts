/**
 * What fleetctl 1.0 asked of fleetd 1.0 on three machines and what it was answered, command by command: facts observed, in a form of our
 * own. Between the exchanges stands what engine and agents did meanwhile, as far as the next answer tells.
 */
import type { FleetOption } from '../../../../api/resources/unit-file/fleet-hash.js';
import type { FleetRig } from './rig.js';

export type World = Pick<FleetRig, 'schedule' | 'report' | 'unschedule' | 'finishDeletion'>;

export type Step =
  | {
      readonly method: 'GET' | 'PUT' | 'DELETE';
      /** Below `/fleet/v1/`, as it stood in the request line. */
      readonly path: string;
      readonly send?: object;
      readonly status: number;
      /** Absent: the answer had no body. */
      readonly body?: unknown;
    }
  | { readonly meanwhile: (world: World) => Promise<void> };

export interface Command {
  readonly line: string;
  readonly steps: readonly Step[];
}

export const [m1, m2, m3] = ['1', '2', '3'].map((digit) => `${'0'.repeat(24)}f1ee700${digit}`) as [string, string, string];
export const machines = [m1, m2, m3].map((id, index) => ({
  id,
  metadata: { az: `z${index + 1}` },
  primaryIP: `10.77.0.${index + 1}`,
}));

const describedSleep = (description: string, command = '/bin/sleep infinity'): FleetOption[] => [
  { name: 'Description', section: 'Unit', value: description },
  { name: 'ExecStart', section: 'Service', value: command },
];
const hello = describedSleep('Hello');
const instance = describedSleep('Hello %i');
const other2 = describedSleep('Other2', '/bin/sleep 1000');
const everywhere: FleetOption[] = [
  { name: 'ExecStart', section: 'Service', value: '/bin/sleep infinity' },
  { name: 'Global', section: 'X-Fleet', value: 'true' },
];
const helloHash = '3585129a937fa3d1ba1d97bf61790801d7efb4fd';
const instanceHash = 'b9c8d6bc583ac95765455d4bbfcab8c99bb31b9f';
const everywhereHash = 'd7594b2e4f5933f0b3e48bc2e812b0c5955bd9c6';
/** fleetd went on showing the hash of the file that this one replaced; ours is of the file that is there. */
const other2Hash = 'e2f15370f3f6927d16e0fa0c57417046e0f8793a';

type Word = 'inactive' | 'loaded' | 'launched';

/** The keys in the order in which fleetd wrote them. */
const unit = (name: string, options: readonly FleetOption[], desired: Word, current?: Word, machine?: string) => ({
  ...(current && { currentState: current }),
  desiredState: desired,
  ...(machine && { machineID: machine }),
  name,
  options,
});
const state = (name: string, hash: string, machineID: string, active = 'active', sub = 'running') => ({
  hash,
  machineID,
  name,
  systemdActiveState: active,
  systemdLoadState: 'loaded',
  systemdSubState: sub,
});

const get = (path: string, body: unknown): Step => ({ method: 'GET', path, status: 200, body });
const listMachines = get('machines', { machines });
const refused = (code: number, message: string) => ({ status: code, body: { error: { code, message } } });
const missing = (path: string): Step => ({ method: 'GET', path, ...refused(404, 'unit does not exist') });
const create = (path: string, name: string, options: readonly FleetOption[]): Step => ({
  method: 'PUT',
  path,
  send: { name, options },
  status: 201,
});
const steer = (path: string, name: string, desiredState: Word): Step => ({
  method: 'PUT',
  path,
  send: { desiredState, name },
  status: 204,
});
const destroy = (path: string): Step => ({ method: 'DELETE', path, status: 204 });
const meanwhile = (happens: (world: World) => Promise<void>): Step => ({ meanwhile: happens });

const stopped = { active: 'inactive', sub: 'dead' };
const neverStarted = { ...stopped, runningHash: undefined } as object;

/** One unit's exchanges: where it is asked for, and how it is shown. */
function about(name: string, path: string, options: readonly FleetOption[]) {
  return {
    missing: missing(path),
    create: create(path, name, options),
    steer: (desired: Word) => steer(path, name, desired),
    destroy: destroy(path),
    shown: (desired: Word, current?: Word, machine?: string) => get(path, unit(name, options, desired, current, machine)),
    listed: (desired: Word, current?: Word, machine?: string) => unit(name, options, desired, current, machine),
  };
}
const h = about('hello.service', 'units/hello.service', hello);
const template = about('hello@.service', 'units/hello%40.service', instance);
const i1 = about('hello@1.service', 'units/hello%401.service', instance);
const i2 = about('hello@2.service', 'units/hello%402.service', instance);
const g = about('g.service', 'units/g.service', everywhere);
const o = about('other.service', 'units/other.service', hello);
const replaced = about('other.service', 'units/other.service', other2);

/** In a list fleetd gave a global unit the current state inactive, whatever it did; here it has none anywhere. */
const allUnits = (other: object) =>
  get('units', {
    units: [
      g.listed('launched'),
      h.listed('inactive', 'inactive'),
      template.listed('inactive', 'inactive'),
      i1.listed('launched', 'launched', m2),
      i2.listed('launched', 'launched', m1),
      ...(Object.keys(other).length > 0 ? [other] : []),
    ],
  });
const starting = [i1.shown('launched', 'inactive', m2), i2.shown('launched', 'inactive', m1)];

export const commands: readonly Command[] = [
  { line: 'list-machines', steps: [listMachines] },
  { line: 'list-machines --full --no-legend', steps: [listMachines] },
  { line: 'submit hello.service', steps: [h.missing, h.create, h.shown('inactive', 'inactive')] },
  { line: 'list-unit-files', steps: [get('units', { units: [h.listed('inactive', 'inactive')] })] },
  { line: 'cat hello.service', steps: [h.shown('inactive', 'inactive')] },
  {
    line: 'load hello.service',
    steps: [
      h.shown('inactive', 'inactive'),
      h.steer('loaded'),
      h.shown('loaded', 'inactive'),
      meanwhile((world) => world.schedule('hello.service', m1)),
      h.shown('loaded', 'inactive', m1),
      meanwhile((world) => world.report('hello.service', m1, neverStarted)),
      h.shown('loaded', 'loaded', m1),
      listMachines,
    ],
  },
  {
    line: 'start hello.service',
    steps: [
      h.shown('loaded', 'loaded', m1),
      h.steer('launched'),
      h.shown('launched', 'loaded', m1),
      // fleetd called it launched once it had asked; here, once that has been seen to have happened.
      meanwhile((world) => world.report('hello.service', m1, stopped)),
      h.shown('launched', 'launched', m1),
      listMachines,
      get('state/hello.service', state('hello.service', helloHash, m1, 'inactive', 'dead')),
      meanwhile((world) => world.report('hello.service', m1)),
      get('state/hello.service', state('hello.service', helloHash, m1)),
    ],
  },
  { line: 'list-units', steps: [get('state', { states: [state('hello.service', helloHash, m1)] }), listMachines] },
  {
    line: 'list-units --full --fields unit,load,active,sub,machine,hash',
    steps: [get('state', { states: [state('hello.service', helloHash, m1)] }), listMachines],
  },
  {
    line: 'stop hello.service',
    steps: [
      get('units', { units: [h.listed('launched', 'launched', m1)] }),
      h.steer('loaded'),
      h.shown('loaded', 'launched', m1),
      meanwhile((world) => world.report('hello.service', m1, stopped)),
      h.shown('loaded', 'loaded', m1),
      listMachines,
    ],
  },
  {
    line: 'unload hello.service',
    steps: [
      get('units', { units: [h.listed('loaded', 'loaded', m1)] }),
      h.steer('inactive'),
      h.shown('inactive', 'loaded', m1),
      meanwhile((world) => world.unschedule('hello.service', m1)),
      h.shown('inactive', 'inactive'),
    ],
  },
  {
    line: 'start hello@.service',
    steps: [
      template.missing,
      template.create,
      template.shown('inactive', 'inactive'),
      {
        method: 'PUT',
        path: 'units/hello%40.service',
        send: { desiredState: 'launched', name: 'hello@.service' },
        ...refused(400, 'cannot activate template "hello@.service"'),
      },
    ],
  },
  { line: 'submit hello@.service', steps: [template.shown('inactive', 'inactive')] },
  {
    line: 'start hello@1.service hello@2.service',
    steps: [
      i1.missing,
      template.shown('inactive', 'inactive'),
      i1.create,
      i2.missing,
      template.shown('inactive', 'inactive'),
      i2.create,
      i1.shown('inactive', 'inactive'),
      i2.shown('inactive', 'inactive'),
      i1.shown('inactive', 'inactive'),
      i1.steer('launched'),
      i2.shown('inactive', 'inactive'),
      i2.steer('launched'),
      meanwhile((world) => world.schedule('hello@1.service', m2)),
      meanwhile((world) => world.schedule('hello@2.service', m1)),
      ...[...starting, ...starting, ...starting, ...starting],
      i1.shown('launched', 'inactive', m2),
      meanwhile((world) => world.report('hello@2.service', m1)),
      i2.shown('launched', 'launched', m1),
      listMachines,
      meanwhile((world) => world.report('hello@1.service', m2)),
      i1.shown('launched', 'launched', m2),
      get('state/hello%401.service', state('hello@1.service', instanceHash, m2)),
      get('state/hello%402.service', state('hello@2.service', instanceHash, m1)),
    ],
  },
  {
    line: 'start g.service',
    steps: [
      g.missing,
      g.create,
      g.shown('inactive'),
      g.steer('launched'),
      meanwhile(async (world) => {
        for (const machine of [m1, m2, m3]) await world.schedule('g.service', machine, { global: true });
        for (const machine of [m1, m2, m3]) await world.report('g.service', machine);
      }),
    ],
  },
  { line: 'list-unit-files --fields unit,hash,dstate,state,target,global,desc', steps: [allUnits({}), listMachines] },
  { line: 'start nosuch.service', steps: [missing('units/nosuch.service')] },
  {
    line: 'start --replace other.service',
    steps: [
      o.missing,
      o.create,
      o.shown('inactive', 'inactive'),
      o.steer('launched'),
      o.shown('launched', 'inactive'),
      meanwhile((world) => world.schedule('other.service', m3)),
      o.shown('launched', 'inactive', m3),
      meanwhile((world) => world.report('other.service', m3)),
      o.shown('launched', 'launched', m3),
      listMachines,
      get('state/other.service', state('other.service', helloHash, m3)),
    ],
  },
  { line: 'start other.service', steps: [o.shown('launched', 'launched', m3)] },
  {
    line: 'start --replace --block-attempts=3 other.service',
    steps: [
      o.shown('launched', 'launched', m3),
      replaced.create,
      replaced.shown('inactive', 'launched', m3),
      meanwhile((world) => world.unschedule('other.service', m3)),
      replaced.shown('inactive', 'inactive'),
      replaced.steer('launched'),
      replaced.shown('launched', 'inactive'),
      meanwhile((world) => world.schedule('other.service', m3)),
      meanwhile((world) => world.report('other.service', m3)),
      replaced.shown('launched', 'launched', m3),
      listMachines,
      get('state/other.service', state('other.service', other2Hash, m3)),
    ],
  },
  {
    line: 'destroy hello.service other.service hello@1.service hello@2.service hello@.service g.service',
    steps: [allUnits(replaced.listed('launched', 'launched', m3)), ...[h, replaced, i1, i2, template, g].map((one) => one.destroy)],
  },
  { line: 'destroy nosuch.service', steps: [get('units', {})] },
  {
    line: 'list-units',
    steps: [
      get('state', {
        states: [
          ...[m1, m2, m3].map((machine) => state('g.service', everywhereHash, machine)),
          state('hello@1.service', instanceHash, m2),
          state('hello@2.service', instanceHash, m1),
          state('other.service', other2Hash, m3),
        ],
      }),
      listMachines,
    ],
  },
];

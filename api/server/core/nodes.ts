/** core/v1 nodes: the machines whose agents have told about them. */
import type { Joined } from '../../objects/ports.js';
import { conditionOf } from '../../resources/conditions.js';
import type { Kind } from '../../resources/kinds.js';
import type { Machine, MachineInfo, Taint } from '../../resources/machine.js';
import type { Condition, FlotillaObject } from '../../resources/meta.js';
import { humanAge } from '../../resources/table.js';
import { column, coreKind, none } from './kind.js';
import type { NodeNames } from './node-names.js';
import type { Projection } from './projection.js';
import { nodeSchema } from './schemas.js';

/** On a node: the id of its machine. */
export const machineLabel = 'flotilla.dev/machine';

interface NodeSpec {
  readonly unschedulable?: boolean;
  readonly taints?: readonly Taint[];
}

interface NodeStatus {
  readonly conditions: readonly Condition[];
  readonly addresses: readonly { readonly type: string; readonly address: string }[];
  readonly nodeInfo: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

export type Node = FlotillaObject<NodeSpec, NodeStatus>;

const asNode = (object: FlotillaObject): Node => object as Node;

/** As kubectl words it. */
function standing(node: Node): string {
  const ready = conditionOf(node, 'Ready')?.status;
  const words = [ready === 'True' ? 'Ready' : ready === 'False' ? 'NotReady' : 'Unknown'];
  if (node.spec?.unschedulable) words.push('SchedulingDisabled');
  return words.join(',');
}

const rolePrefix = 'node-role.kubernetes.io/';

/** By the labels that kubectl has them from. */
function roles({ metadata }: FlotillaObject): string {
  const found = Object.keys(metadata.labels ?? {}).filter((key) => key.startsWith(rolePrefix) && key !== rolePrefix);
  return found.length === 0 ? none : found.map((key) => key.slice(rolePrefix.length)).join(',');
}

const addressOf = (node: Node, type: string): string => node.status?.addresses.find((address) => address.type === type)?.address ?? none;
const infoOf = (node: Node, field: string): string => node.status?.nodeInfo[field] || '<unknown>';

export const nodeKind: Kind = coreKind({
  schema: nodeSchema,
  changeable: true,
  listTypes: { 'spec.taints': { type: 'map', keys: ['key', 'effect'] } },
  kind: 'Node',
  plural: 'nodes',
  singular: 'node',
  shortNames: ['no'],
  namespaced: false,
  description: 'A machine, as clients of Kubernetes know such things. Its labels, annotations, taints and cordon can be changed.',
  columns: [
    column('Name', 'Its hostname, or its id where it shares that with another machine.', ({ metadata }) => metadata.name),
    column('Status', 'Ready, NotReady or Unknown; SchedulingDisabled when it is cordoned or drained.', (object) =>
      standing(asNode(object)),
    ),
    column('Roles', 'From labels that begin with node-role.kubernetes.io/.', roles),
    column('Age', 'Time since it joined.', ({ metadata }, now) => humanAge(metadata.creationTimestamp, now)),
    column('Version', 'Of its agent.', (object) => infoOf(asNode(object), 'kubeletVersion')),
    column('Internal-IP', 'Its address.', (object) => addressOf(asNode(object), 'InternalIP'), 1),
    column('External-IP', 'Not known.', () => none, 1),
    column('OS-Image', 'Its operating system.', (object) => infoOf(asNode(object), 'osImage'), 1),
    column('Kernel-Version', 'Its kernel.', (object) => infoOf(asNode(object), 'kernelVersion'), 1),
    column('Container-Runtime', 'What runs its units: systemd.', (object) => infoOf(asNode(object), 'containerRuntimeVersion'), 1),
  ],
  selectableFields: { 'spec.unschedulable': (object) => String(asNode(object).spec?.unschedulable ?? false) },
});

/** Pure. @param name what the machine is called as a node */
export function nodeOf(machine: Machine & Joined, info: MachineInfo, name: string): Joined {
  const { metadata, spec, status } = machine;
  const { managedFields: _ours, labels, ...rest } = metadata;
  const isClosed = spec?.unschedulable === true || spec?.drain === true;
  const size = { cpu: quantityOf(info.cpus), memory: `${Math.floor(info.memoryBytes / 1024)}Ki` };
  return Object.freeze({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: Object.freeze({
      ...rest,
      name,
      labels: { 'kubernetes.io/hostname': info.hostname, 'kubernetes.io/os': 'linux', ...labels, [machineLabel]: metadata.name },
    }),
    spec: Object.freeze({
      providerID: `flotilla://${metadata.name}`,
      ...(isClosed ? { unschedulable: true } : {}),
      ...(spec?.taints ? { taints: spec.taints } : {}),
    }),
    status: Object.freeze({
      capacity: size,
      allocatable: size,
      // The last time that it was written: kubectl prints the year 1 for one that is absent.
      conditions: (status?.conditions ?? []).map((one) => ({ ...one, lastHeartbeatTime: one.lastTransitionTime })),
      addresses: [
        ...(info.address === '' ? [] : [{ type: 'InternalIP', address: info.address }]),
        { type: 'Hostname', address: info.hostname },
      ],
      nodeInfo: {
        machineID: metadata.name,
        bootID: info.bootID,
        kernelVersion: info.kernelVersion ?? '',
        osImage: info.osImage ?? '',
        containerRuntimeVersion: `systemd://${info.systemdVersion ?? ''}`,
        kubeletVersion: info.agentVersion,
        operatingSystem: 'linux',
      },
    }),
  });
}

/** Cores to the thousandth. */
const quantityOf = (cpus: number): string => (Number.isInteger(cpus) ? String(cpus) : `${Math.round(cpus * 1_000)}m`);

export class Nodes implements Projection {
  readonly kind = nodeKind;
  readonly of = 'machines';
  readonly #made = new WeakMap<Joined, Joined>();

  constructor(private readonly names: NodeNames) {}

  storedName = (name: string): string | undefined => this.names.idOf(name);

  /** Until its agent has told of it, there is a Machine and no node. */
  view(machine: Joined): Joined | undefined {
    const { info } = (machine as Machine & Joined).status ?? {};
    if (!info) return undefined;
    const name = this.names.nameOf(machine);
    const known = this.#made.get(machine);
    if (known?.metadata.name === name) return known;
    const node = nodeOf(machine as Machine & Joined, info, name);
    this.#made.set(machine, node);
    return node;
  }

  lastView(machine: Joined): Joined | undefined {
    return this.#made.get(machine) ?? this.view(machine);
  }
}

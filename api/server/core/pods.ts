/** core/v1 pods: the units' copies on machines, as assignments tell of them. */

import { sameJson } from '../../objects/json.js';
import type { ClusterCache, Joined, ObjectEvent, Row, StoredObject } from '../../objects/ports.js';
import { objectVersion } from '../../objects/resource-version.js';
import { type AssignmentSpec, assignmentName } from '../../resources/assignment.js';
import { conditionOf } from '../../resources/conditions.js';
import type { Kind } from '../../resources/kinds.js';
import type { Machine } from '../../resources/machine.js';
import type { FlotillaObject } from '../../resources/meta.js';
import { effectivePlacement } from '../../resources/placement.js';
import { humanAge } from '../../resources/table.js';
import type { UnitSpec } from '../../resources/unit.js';
import { templateNameOf } from '../../resources/unit-name.js';
import { column, coreKind, none } from './kind.js';
import type { NodeNames } from './node-names.js';
import { type Pod, type PodParts, podOf, standing } from './pod.js';
import type { Projection } from './projection.js';
import { podSchema } from './schemas.js';

const asPod = (object: FlotillaObject): Pod => object as Pod;

const ready = (object: FlotillaObject): string => {
  const containers = asPod(object).status?.containerStatuses ?? [];
  return `${containers.filter((one) => one.ready).length}/${containers.length}`;
};

export const podKind: Kind = coreKind({
  schema: podSchema,
  kind: 'Pod',
  plural: 'pods',
  singular: 'pod',
  shortNames: ['po'],
  namespaced: true,
  description: "A unit's copy on a machine, as clients of Kubernetes know such things. Read-only, but it can be moved off a cordoned node.",
  columns: [
    column('Name', 'Unit and machine.', ({ metadata }) => metadata.name),
    column('Ready', 'Whether it runs.', ready),
    column('Status', "systemd's state in Kubernetes' words.", (object) => standing(asPod(object))),
    column('Restarts', 'How often systemd restarted it.', (object) =>
      String(asPod(object).status?.containerStatuses[0]?.restartCount ?? 0),
    ),
    column('Age', 'Time since it was assigned.', ({ metadata }, now) => humanAge(metadata.creationTimestamp, now)),
    column('IP', "Its machine's address.", (object) => asPod(object).status?.podIP ?? none, 1),
    column('Node', 'Its machine.', (object) => asPod(object).spec?.nodeName ?? none, 1),
    column('Nominated Node', 'Units are never announced.', () => none, 1),
    column('Readiness Gates', 'Units have none.', () => none, 1),
  ],
  selectableFields: {
    'spec.nodeName': (object) => asPod(object).spec?.nodeName ?? '',
    'spec.hostNetwork': () => 'true',
    'spec.restartPolicy': () => 'Always',
    'status.phase': (object) => asPod(object).status?.phase ?? '',
    'status.podIP': (object) => asPod(object).status?.podIP ?? '',
    'status.nominatedNodeName': () => '',
  },
});

/** What a pod was made from: as long as all of it is the same, so is the pod. */
interface Made {
  readonly unit: Row<StoredObject> | undefined;
  readonly template: Row<StoredObject> | undefined;
  readonly parts: PodParts;
  /** Revision on the wire of the machine when its part of the pod was first seen to be as it is. */
  readonly nodeVersion: number;
  readonly pod: Joined;
}

type Change = { readonly before: Joined; readonly after: Joined };

type UnitPart = NonNullable<PodParts['unit']>;

export class Pods implements Projection {
  readonly kind = podKind;
  readonly of = 'assignments';
  readonly also = {
    units: (event: ObjectEvent) => this.#unitChanged(event),
    machines: (event: ObjectEvent) => this.#machineChanged(event),
  };
  readonly #made = new WeakMap<Joined, Made>();
  readonly #placements = new WeakMap<Row<StoredObject>, { readonly template: Row<StoredObject> | undefined; readonly part: UnitPart }>();

  constructor(
    private readonly cache: ClusterCache,
    private readonly names: NodeNames,
  ) {}

  storedName = (name: string): string => name;

  view(assignment: Joined): Joined {
    const { unit: name, machine } = assignment.spec as AssignmentSpec;
    const unit = this.cache.object('units', name);
    const template = this.#templateOf(unit);
    const on = this.cache.joined('machines', machine);
    const node = this.#nodeOf(machine, on);
    const known = this.#made.get(assignment);
    const isSameNode = known !== undefined && sameJson(known.parts.node, node);
    if (isSameNode && known.unit === unit && known.template === template) return known.pod;
    // Not older than what a watch has told of the machine; most of what changes about a machine is nothing to its pods.
    const nodeVersion = isSameNode ? known.nodeVersion : Number(on?.metadata.resourceVersion ?? known?.nodeVersion ?? 0);
    const resourceVersion = String(Math.max(ownVersion(assignment, unit), nodeVersion));
    const parts = { assignment, node, unit: unit && this.#unitPart(unit, template), resourceVersion };
    const pod = podOf(parts);
    this.#made.set(assignment, { unit, template, parts, nodeVersion, pod });
    return pod;
  }

  /** Whether the pod itself is another than whoever saw it at this resourceVersion, in a list or in a watch, thinks. */
  hasChangedSince(resourceVersion: string, assignment: Joined): boolean {
    const { unit } = assignment.spec as AssignmentSpec;
    return Number(resourceVersion) < ownVersion(assignment, this.cache.object('units', unit));
  }

  lastView(assignment: Joined): Joined {
    return this.#made.get(assignment)?.pod ?? this.view(assignment);
  }

  /** The machine's own word, or nothing at all: a machine that is not heard of says nothing of what runs on it. */
  #nodeOf(id: string, machine: Joined | undefined): PodParts['node'] {
    if (!machine) return { name: id, lost: 'The machine does not exist any more.' };
    const { status } = machine as Machine;
    const readyNow = conditionOf(machine, 'Ready');
    return {
      name: this.names.nameOf(machine),
      address: status?.info?.address,
      lost: readyNow && readyNow.status !== 'True' ? readyNow.message : undefined,
    };
  }

  #templateOf(unit: Row<StoredObject> | undefined): Row<StoredObject> | undefined {
    const name = unit && unit.value.textHash === undefined ? templateNameOf(unit.value.metadata.name) : undefined;
    return name === undefined ? undefined : this.cache.object('units', name);
  }

  #unitPart(unit: Row<StoredObject>, template: Row<StoredObject> | undefined): UnitPart {
    const known = this.#placements.get(unit);
    if (known && known.template === template) return known.part;
    const { metadata, spec = {}, textHash = template?.value.textHash } = unit.value;
    const text = textHash === undefined ? undefined : this.cache.content(textHash)?.value;
    const templateSpec = template?.value.spec as UnitSpec | undefined;
    const placement = effectivePlacement({ name: metadata.name, spec: spec as UnitSpec, text, ...(template ? { templateSpec } : {}) });
    const part = {
      labels: metadata.labels ?? {},
      isBound: placement.global || placement.machineID !== undefined,
      requests: placement.requests,
    };
    // A text that has not come yet may say more.
    if (text !== undefined) this.#placements.set(unit, { template, part });
    return part;
  }

  /** Labels are the unit's: they change without its assignments. Told whenever the Unit was written, since its pods count that. */
  #unitChanged({ type, object, previous }: ObjectEvent): Change[] {
    if (type !== 'MODIFIED' || !previous) return [];
    const { name, resourceVersion } = object.metadata;
    if (sameJson({ ...previous.metadata, resourceVersion }, object.metadata)) return [];
    const machines = [...this.cache.assignmentsOf(name).keys()];
    return this.#changes(
      machines.map((machine) => assignmentName(name, machine)),
      ({ unit }) => ({ unit: unit && { ...unit, labels: previous.metadata.labels ?? {} } }),
    );
  }

  /** Whether anything is known of what runs there. */
  #machineChanged({ type, object, previous }: ObjectEvent): Change[] {
    if (type !== 'MODIFIED' || !previous) return [];
    const id = object.metadata.name;
    const before = this.#nodeOf(id, previous);
    if (sameJson(before, this.#nodeOf(id, object))) return [];
    const units = [...this.cache.assignmentsOn(id).keys()];
    return this.#changes(
      units.map((unit) => assignmentName(unit, id)),
      () => ({ node: before }),
    );
  }

  /** @param earlier what was different before */
  #changes(names: readonly string[], earlier: (parts: PodParts) => Partial<PodParts>): Change[] {
    return names.flatMap((name) => {
      const assignment = this.cache.joined('assignments', name);
      if (!assignment) return [];
      const after = this.view(assignment);
      const { parts } = this.#made.get(assignment)!;
      return [{ before: podOf({ ...parts, ...earlier(parts) }), after }];
    });
  }
}

/** On the wire: of the assignment, or of its unit where that is newer: its labels are shown. */
const ownVersion = ({ metadata }: Joined, unit: Row<StoredObject> | undefined): number =>
  Math.max(Number(metadata.resourceVersion), unit ? Number(objectVersion(unit.modRevision)) : 0);

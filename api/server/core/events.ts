/**
 * Events of machines and units as those of the nodes and pods that show them: for whoever asks for the events of a Node or a Pod, as
 * `kubectl describe` does. In a list of all events they stand once, under their own names.
 */
import type { ClusterCache, Joined } from '../../objects/ports.js';
import { type AssignmentSpec, assignmentName } from '../../resources/assignment.js';
import { agentComponent, type Event } from '../../resources/event.js';
import { eventKind } from '../../resources/event-kind.js';
import { parseFieldSelector } from '../../resources/selectors.js';
import { queryOf } from '../query.js';
import { kindRoutes } from '../rest.js';
import type { RestPorts } from '../rest-ports.js';
import type { Route } from '../routes.js';
import { defaultNamespace } from './kind.js';
import { type Nodes, nodeKind } from './nodes.js';
import { type Pods, podKind } from './pods.js';
import type { Projection } from './projection.js';

export class ShownEvents implements Projection {
  readonly kind = eventKind;
  readonly of = eventKind.plural;
  readonly #made = new WeakMap<Joined, { readonly about: Joined; readonly event: Joined }>();

  constructor(
    private readonly cache: ClusterCache,
    private readonly nodes: Nodes,
    private readonly pods: Pods,
  ) {}

  storedName = (name: string): string => name;

  view(event: Joined): Joined | undefined {
    const about = this.#about(event as unknown as Event);
    if (!about) return undefined;
    const known = this.#made.get(event);
    if (known?.about.metadata.uid === about.metadata.uid && known.about.metadata.name === about.metadata.name) return known.event;
    const { apiVersion, kind, metadata } = about;
    const shown = Object.freeze({
      ...event,
      metadata: Object.freeze({ ...event.metadata, namespace: defaultNamespace }),
      involvedObject: { apiVersion, kind, name: metadata.name, namespace: metadata.namespace, uid: metadata.uid },
    });
    this.#made.set(event, { about, event: shown });
    return shown;
  }

  lastView(event: Joined): Joined | undefined {
    return this.#made.get(event)?.event ?? this.view(event);
  }

  /** The node or pod that an event is about; undefined when it is about none that is there, or about an earlier one. */
  #about({ involvedObject: { kind, name, uid }, source, lastTimestamp }: Event): Joined | undefined {
    if (kind === 'Machine') {
      const machine = this.cache.joined('machines', name);
      return machine && (uid === undefined || uid === machine.metadata.uid) ? this.nodes.view(machine) : undefined;
    }
    if (kind !== 'Unit') return undefined;
    const copies = [...this.cache.assignmentsOf(name).values()].map(({ value }) => value);
    const told = source.component === agentComponent ? assignmentName(name, source.host ?? '') : undefined;
    // What is said of a unit as a whole is about its copy when there is one.
    const copy = told === undefined ? (copies.length === 1 ? copies[0] : undefined) : copies.find((one) => nameOf(one) === told);
    if (!copy || (uid !== undefined && uid !== copy.unitUid) || isBefore(lastTimestamp, copy)) return undefined;
    const assignment = this.cache.joined('assignments', nameOf(copy));
    return assignment && this.pods.view(assignment);
  }
}

const nameOf = ({ unit, machine }: AssignmentSpec): string => assignmentName(unit, machine);

/** Events are dated to the second. */
const isBefore = (timestamp: string, { assignedAt }: AssignmentSpec): boolean => Date.parse(timestamp) + 1_000 <= Date.parse(assignedAt);

const shownKinds = new Set([nodeKind.kind, podKind.kind]);

/** @param shown ports that show the events of nodes and pods */
export function eventRoutes(stored: RestPorts, shown: RestPorts): Route[] {
  const others = kindRoutes(shown, eventKind);
  return kindRoutes(stored, eventKind).map((route, index) => ({
    ...route,
    handler: (request, reply) => {
      const terms = parseFieldSelector(queryOf(request).get('fieldSelector') ?? '');
      // `kubectl describe pod` names no kind, but a namespace, and only pods are in one.
      const isShown = terms.some(
        ({ field, equal, value }) =>
          equal && (field === 'involvedObject.kind' ? shownKinds.has(value) : field === 'involvedObject.namespace' && value !== ''),
      );
      return (isShown ? others[index]! : route).handler(request, reply);
    },
  }));
}

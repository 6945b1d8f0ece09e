/** Writing through the facade: what can be changed about a node is changed in its Machine; everything else is refused in a sentence. */
import { isObject, type JsonObject, sameJson } from '../../objects/json.js';
import { type Patch, patched } from '../../objects/patch.js';
import type { Joined, ObjectDoor, ObjectWritten, WriteContext } from '../../objects/ports.js';
import { invalid, notFound } from '../../objects/status-errors.js';
import { type FieldError, StatusError } from '../../resources/errors.js';
import { ObjectMeta } from '../../resources/meta.js';
import { writeOverShown } from '../over-shown.js';
import type { ReadableCache } from '../readable-cache.js';
import { machineLabel, nodeKind } from './nodes.js';
import type { Projection } from './projection.js';
import { nodeSchema } from './schemas.js';

export interface CoreDoorPorts {
  /** Shows nodes. */
  readonly cache: ReadableCache;
  readonly door: ObjectDoor;
  readonly nodes: Projection;
}

/** Only what `kindRoutes` lets through gets here: changes of nodes and the removal of pods. */
export class CoreDoor implements ObjectDoor {
  constructor(
    private readonly ports: CoreDoorPorts,
    readonly remove: ObjectDoor['remove'],
  ) {}

  create = async (): Promise<never> => {
    throw new StatusError('MethodNotAllowed', 'what is served as nodes and pods is made by machines that join and units that are placed');
  };

  apply = async (): Promise<never> => {
    throw new StatusError(
      'MethodNotAllowed',
      'a node is another view of a machine, and its fields are owned there: apply to machines.flotilla.dev, or change the node by a patch',
    );
  };

  update = (_plural: string, name: string, body: unknown, context: WriteContext): Promise<ObjectWritten> =>
    this.#change(name, () => body, context);

  patch = (_plural: string, name: string, patch: Patch, context: WriteContext): Promise<ObjectWritten> =>
    this.#change(name, (node) => patched(node, patch), context);

  /** What is asked for was made out on the node as it is seen here: it is written over that one, and made out anew when it has changed. */
  async #change(name: string, change: (node: JsonObject) => unknown, context: WriteContext): Promise<ObjectWritten> {
    const { cache, door, nodes } = this.ports;
    return writeOverShown(() => {
      const node = cache.joined(nodeKind.plural, name);
      const machine = nodes.storedName(name);
      if (!node || machine === undefined) throw notFound(nodeKind, name);
      const { errors, patch } = machinePatch(node as unknown as JsonObject, change(node as unknown as JsonObject));
      if (errors.length > 0) throw invalid(nodeKind, name, errors);
      return {
        shown: node.metadata.resourceVersion,
        over: part(patch, 'metadata').resourceVersion,
        async write() {
          const written = await door.patch(nodes.of, machine, { type: 'merge', body: patch }, context);
          return { ...written, object: nodes.view(written.object as Joined) ?? node };
        },
      };
    });
  }
}

const changeable =
  'of a node only labels, annotations, spec.unschedulable and spec.taints can be changed: all else is what its machine says';

/** What has to change in the Machine so that its node looks as wanted. Pure. */
export function machinePatch(node: JsonObject, wanted: unknown): { readonly errors: readonly FieldError[]; readonly patch: JsonObject } {
  const errors: FieldError[] = [];
  const forbid = (field: string) => errors.push({ field, message: `Forbidden: ${changeable}`, reason: 'FieldValueForbidden' });
  if (!isObject(wanted)) return { errors: [{ field: 'metadata', message: 'expected a Node' }], patch: {} };
  const [metadata, spec] = [part(node, 'metadata'), part(node, 'spec')];
  const [newMetadata, newSpec] = [part(wanted, 'metadata'), part(wanted, 'spec')];

  for (const field of ['finalizers', 'ownerReferences']) {
    if (!sameJson(metadata[field] ?? [], newMetadata[field] ?? [])) forbid(`metadata.${field}`);
  }
  // What is known and kept by the system is passed over, as everywhere; what is not known was meant for something else.
  for (const field of Object.keys(newMetadata)) if (!Object.hasOwn(ObjectMeta.shape, field)) forbid(`metadata.${field}`);
  for (const field of Object.keys(wanted)) if (!Object.hasOwn(nodeSchema.shape, field)) forbid(field);
  for (const field of new Set([...Object.keys(spec), ...Object.keys(newSpec)])) {
    if (field !== 'unschedulable' && field !== 'taints' && !sameJson(spec[field], newSpec[field])) forbid(`spec.${field}`);
  }
  const labels = difference(part(metadata, 'labels'), part(newMetadata, 'labels'));
  // Who leaves it out of a whole object means nothing by it.
  if (labels?.[machineLabel] === null) delete labels[machineLabel];
  if (labels && machineLabel in labels) forbid(`metadata.labels[${machineLabel}]`);
  const annotations = difference(part(metadata, 'annotations'), part(newMetadata, 'annotations'));
  return {
    errors,
    patch: {
      metadata: {
        // Lists are written as a whole: only over the node that they were made out on.
        resourceVersion: newMetadata.resourceVersion ?? metadata.resourceVersion,
        ...(newMetadata.uid === undefined ? {} : { uid: newMetadata.uid }),
        ...(labels ? { labels } : {}),
        ...(annotations ? { annotations } : {}),
      },
      spec: {
        ...(Boolean(spec.unschedulable) === Boolean(newSpec.unschedulable)
          ? {}
          : // Who uncordons a machine wants units on it: a drain ends too.
            newSpec.unschedulable
            ? { unschedulable: newSpec.unschedulable }
            : { unschedulable: null, drain: null }),
        ...(sameJson(spec.taints ?? [], newSpec.taints ?? []) ? {} : { taints: newSpec.taints ?? null }),
      },
    },
  };
}

const part = (object: JsonObject, name: string): JsonObject => {
  const value = object[name];
  return isObject(value) ? value : {};
};

/** As a merge patch; undefined when there is none. */
function difference(before: JsonObject, after: JsonObject): JsonObject | undefined {
  const changed = Object.entries(after).filter(([key, value]) => !sameJson(before[key], value));
  const gone = Object.keys(before).filter((key) => !Object.hasOwn(after, key));
  if (changed.length + gone.length === 0) return undefined;
  return Object.fromEntries([...changed, ...gone.map((key) => [key, null] as const)]);
}

/** What a Unit asks for, read from the cache: its text, its template's where it follows one (SEMANTICS 9), and where it may run. */
import type { ClusterCache, Row, StoredObject } from '../../api/objects/ports.js';
import type { UnitFragment } from '../../api/objects/unit-fragment.js';
import { forceDeleteAnnotation } from '../../api/resources/annotations.js';
import { evictAnnotation, readEviction } from '../../api/resources/eviction.js';
import { controllerOf } from '../../api/resources/owners.js';
import { effectivePlacement } from '../../api/resources/placement.js';
import type { UnitSpec } from '../../api/resources/unit.js';
import { isTemplateName, templateNameOf } from '../../api/resources/unit-name.js';
import { desiredStateOf } from '../../api/resources/unit-text.js';
import { type PlannedUnit, unconstrained } from '../scheduler/types.js';

export interface UnitSource {
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  /** Undefined when `planned.broken` says why. */
  readonly text?: {
    readonly hash: string;
    readonly template?: { readonly name: string; readonly uid: string; readonly generation: number };
  };
  readonly annotations: Readonly<Record<string, string>>;
  readonly forced: boolean;
  readonly finalizers: readonly string[];
  readonly planned: PlannedUnit;
}

/** Reading a unit file costs more than all the rest of a decision, so it is done once per change. */
export class UnitSources {
  readonly #known = new Map<
    string,
    { readonly own: number; readonly template: number; readonly moving: boolean; readonly source: UnitSource }
  >();
  /** Template → instances that follow it. */
  readonly #followers = new Map<string, Set<string>>();

  constructor(private readonly cache: ClusterCache) {}

  /** Undefined when there is no such Unit. */
  read(name: string): UnitSource | undefined {
    const own = this.cache.object('units', name);
    const templateName = own && own.value.textHash === undefined ? templateNameOf(name) : undefined;
    this.#follow(name, templateName);
    if (!own) {
      this.#known.delete(name);
      return undefined;
    }
    const template = templateName === undefined ? undefined : this.cache.object('units', templateName);
    const moving = isMoving(this.cache.fragment('units', name)?.value as UnitFragment | undefined);
    const known = this.#known.get(name);
    if (known?.own === own.modRevision && known.template === (template?.modRevision ?? 0) && known.moving === moving) return known.source;
    const source = readSource(this.cache, own, template, moving);
    this.#known.set(name, { own: own.modRevision, template: template?.modRevision ?? 0, moving, source });
    return source;
  }

  /** Its text may have come since it was read. */
  forget(name: string): void {
    this.#known.delete(name);
  }

  followersOf(template: string): Iterable<string> {
    return this.#followers.get(template) ?? [];
  }

  #follow(name: string, template: string | undefined): void {
    const itself = templateNameOf(name);
    if (itself === undefined) return;
    const followers = this.#followers.get(itself);
    if (template === undefined) followers?.delete(name);
    else if (followers) followers.add(name);
    else this.#followers.set(itself, new Set([name]));
  }
}

const isMoving = (fragment: UnitFragment | undefined): boolean =>
  fragment?.conditions?.some(({ type, reason }) => type === 'Scheduled' && reason === 'Moving') ?? false;

function readSource(cache: ClusterCache, own: Row<StoredObject>, template: Row<StoredObject> | undefined, moving: boolean): UnitSource {
  const { metadata } = own.value;
  const { name, uid = '', generation = 0, annotations = {}, finalizers = [], deletionTimestamp } = metadata;
  const spec = (own.value.spec ?? {}) as UnitSpec;
  const templateName = own.value.textHash === undefined ? templateNameOf(name) : undefined;
  const hash = own.value.textHash ?? template?.value.textHash;
  const isTemplate = isTemplateName(name);
  const written = hash === undefined ? undefined : cache.content(hash)?.value;

  let broken: string | undefined;
  if (hash === undefined && templateName !== undefined)
    broken = `its template ${templateName} ${template ? 'has no text' : 'does not exist'}`;
  else if (hash === undefined) broken = 'it has no text';
  else if (written === undefined) broken = 'its text is not in the store yet';

  let constraints = unconstrained;
  if (!isTemplate && broken === undefined) {
    const templateSpec = template?.value.spec as UnitSpec | undefined;
    const placement = effectivePlacement({ name, spec, text: written, ...(template ? { templateSpec } : {}) });
    const owner = controllerOf(metadata);
    const spread = owner?.kind === 'UnitSet' ? owner.uid : undefined;
    constraints = { ...placement, policy: placement.failover.policy, ...(spread === undefined ? {} : { spread }) };
    if (placement.problems.length > 0) broken = `its placement cannot be read: ${placement.problems.join('; ')}`;
  }
  return {
    name,
    uid,
    generation,
    ...(hash === undefined || broken !== undefined ? {} : { text: textOf(hash, template) }),
    annotations,
    // `kubectl delete --force --grace-period=0` and `flotilla delete --force` say it in the object, other clients with the annotation.
    forced: metadata.deletionGracePeriodSeconds === 0 || annotations[forceDeleteAnnotation] !== undefined,
    finalizers,
    planned: {
      name,
      generation,
      wanted: desiredStateOf({ metadata, spec }),
      template: isTemplate,
      deleting: Boolean(deletionTimestamp),
      ...(broken === undefined || isTemplate ? {} : { broken }),
      moving,
      eviction: readEviction(annotations[evictAnnotation]),
      constraints,
    },
  };
}

function textOf(hash: string, template: Row<StoredObject> | undefined): NonNullable<UnitSource['text']> {
  if (!template) return { hash };
  const { name, uid = '', generation = 0 } = template.value.metadata;
  return { hash, template: { name, uid, generation } };
}

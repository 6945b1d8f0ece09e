/** Follows objects by watch until each is as it should be. */

import { CliError } from './exit.js';
import type { KindInfo, Reader } from './kinds.js';
import { escapeSelector, listAll, type Selection, watchEvents } from './listing.js';
import type { WireList, WireObject } from './objects.js';

export interface FollowLimits {
  readonly timeoutMs: number;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

/** Looks at one object, undefined when it is not there; true once it need not be followed any more. */
export type Look = (object: WireObject | undefined, name: string) => boolean | Promise<boolean>;

/** Follows the objects of these names until `look` is content with each. False when the time was up first. Survives watches that end. */
export async function followObjects(
  context: Reader,
  kind: KindInfo,
  names: readonly string[],
  limits: FollowLimits,
  look: Look,
): Promise<boolean> {
  const [only, ...more] = names;
  if (only === undefined) return true;
  const pending = new Set(names);
  const see = async (name: string, object: WireObject | undefined) => {
    if (pending.has(name) && (await look(object, name))) pending.delete(name);
    return pending.size === 0;
  };
  // One watch of everything rather than one for each, of which a server serves so many and no more.
  const selection = more.length === 0 ? { fieldSelector: `metadata.name=${escapeSelector(only)}` } : {};
  return watched(context, kind, selection, limits, {
    async all(items) {
      const there = new Map(items.map((object) => [object.metadata.name, object]));
      for (const name of [...pending]) await see(name, there.get(name));
      return pending.size === 0;
    },
    one: (object, isGone) => see(object.metadata.name, isGone ? undefined : object),
  });
}

/** Follows all objects that the selection matches, until `look` is content with what there is. */
export function followAll(
  context: Reader,
  kind: KindInfo,
  selection: Selection,
  limits: FollowLimits,
  look: (objects: readonly WireObject[]) => boolean,
): Promise<boolean> {
  // By uid: Assignments of machines whose ids begin alike have one name.
  const there = new Map<string | undefined, WireObject>();
  return watched(context, kind, selection, limits, {
    all(items) {
      there.clear();
      for (const object of items) there.set(object.metadata.uid, object);
      return look([...there.values()]);
    },
    one(object, isGone) {
      if (isGone) there.delete(object.metadata.uid);
      else there.set(object.metadata.uid, object);
      return look([...there.values()]);
    },
  });
}

interface Watcher {
  all(items: readonly WireObject[]): boolean | Promise<boolean>;
  one(object: WireObject, isGone: boolean): boolean | Promise<boolean>;
}

/** How long after a watch that ended the next one begins. */
const watchPauseMs = 200;

async function watched(context: Reader, kind: KindInfo, selection: Selection, limits: FollowLimits, watcher: Watcher): Promise<boolean> {
  const abort = new AbortController();
  const end = () => abort.abort();
  const timer = setTimeout(end, limits.timeoutMs);
  limits.signal?.addEventListener('abort', end);
  if (limits.signal?.aborted) end();
  const { selector: labelSelector, fieldSelector } = selection;
  try {
    while (!abort.signal.aborted) {
      const list = await firstPage(context, kind, selection, abort.signal);
      if (await watcher.all(list.items)) return true;
      try {
        const query = { labelSelector, fieldSelector, resourceVersion: list.metadata.resourceVersion };
        for await (const event of watchEvents<WireObject>(context, kind.path, query, { signal: abort.signal })) {
          if (await watcher.one(event.object, event.type === 'DELETED')) return true;
        }
      } catch (error) {
        // A watch may end at any time (410, a server that restarts): look again. Whatever is lasting shows in the list.
        if (!(error instanceof CliError)) throw error;
        await new Promise((resolve) => setTimeout(resolve, watchPauseMs));
      }
    }
    return false;
  } catch (error) {
    if (abort.signal.aborted) return false;
    throw error;
  } finally {
    clearTimeout(timer);
    limits.signal?.removeEventListener('abort', end);
    abort.abort();
  }
}

/** The whole list; its version is the first page's, so that nothing between two pages is missed. */
async function firstPage(context: Reader, kind: KindInfo, selection: Selection, signal: AbortSignal): Promise<WireList> {
  const { selector: labelSelector, fieldSelector } = selection;
  const list = await context.client.json<WireList>(kind.path, { query: { labelSelector, fieldSelector, limit: 500 }, signal });
  return list.metadata.continue ? { ...list, items: await listAll(context, kind, selection) } : list;
}

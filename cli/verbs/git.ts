/** Verbs on GitSyncs: `sync`, `suspend`, `resume`, and `diff --git`. */
import { type Context, objectPath } from '../context.js';
import { exitCode, usageError } from '../exit.js';
import { imperativeManager } from '../field-managers.js';
import { respectGitSync } from '../gitsync-owner.js';
import { conditionOf, type WireObject } from '../objects.js';
import { complain, print, printLine, say } from '../output.js';
import { followObject } from './wait.js';

const requestedAnnotation = 'flotilla.dev/reconcile-requested-at';
const confirmAnnotation = 'flotilla.dev/confirm-prune';

async function patch(context: Context, name: string, body: unknown): Promise<WireObject> {
  const kind = await context.kind('gitsyncs');
  return context.client.json<WireObject>(objectPath(kind, nameOf(name)), {
    method: 'PATCH',
    contentType: 'application/merge-patch+json',
    query: { fieldManager: imperativeManager },
    body,
  });
}

/** `gitsync/prod` is as good as `prod`. */
const nameOf = (word: string): string => word.replace(/^(?:gitsyncs?|gs)\//, '');

export interface SyncOptions {
  readonly wait?: boolean;
  readonly timeoutMs: number;
  readonly confirmPrune?: string;
}

export async function sync(context: Context, words: readonly string[], { wait, timeoutMs, confirmPrune }: SyncOptions): Promise<number> {
  if (confirmPrune !== undefined && words.length > 1) throw usageError('--confirm-prune agrees to one revision of one GitSync');
  if (confirmPrune !== undefined && !/^(?:.*:)?[0-9a-f]{7,64}$/.test(confirmPrune)) {
    throw usageError(`--confirm-prune ${confirmPrune}: expected a revision such as main@sha1:0123abc, or at least 7 digits of its hash`);
  }
  const outcomes: number[] = [];
  for (const word of words) {
    const now = new Date().toISOString();
    const annotations = {
      [requestedAnnotation]: now,
      ...(confirmPrune === undefined ? {} : { [confirmAnnotation]: `${confirmPrune} ${now}` }),
    };
    const { spec } = await patch(context, word, { metadata: { annotations } });
    printLine(`gitsync/${nameOf(word)} sync requested`);
    if (spec?.suspend === true) say(`gitsync/${nameOf(word)} is suspended: it syncs once it is resumed (flotilla resume ${nameOf(word)})`);
    if (wait) outcomes.push(await untilSynced(context, nameOf(word), now, timeoutMs));
  }
  return outcomes.find((code) => code !== exitCode.ok) ?? exitCode.ok;
}

async function untilSynced(context: Context, name: string, requestedAt: string, timeoutMs: number): Promise<number> {
  let last: WireObject | undefined;
  const ended = await followObject(context, await context.kind('gitsyncs'), name, timeoutMs, (seen) => {
    last = seen;
    // Another request that came later stands for this one, too.
    const handled = String(seen?.status?.lastHandledReconcileAt ?? '');
    return seen === undefined || (handled >= requestedAt && conditionOf(seen, 'Ready')?.status !== 'Unknown');
  });
  const ready = last && conditionOf(last, 'Ready');
  const why = ready?.message ?? 'nobody has looked at it yet';
  if (!ended) {
    complain(`gitsync/${name} is not done after ${timeoutMs / 1_000} s: ${why}`);
    return exitCode.timedOut;
  }
  if (ready?.status === 'True') {
    printLine(`gitsync/${name}: ${ready.message}`);
    return exitCode.ok;
  }
  complain(last === undefined ? `gitsync/${name} was deleted` : `gitsync/${name}: ${why}`);
  return exitCode.failed;
}

export async function suspend(
  context: Context,
  words: readonly string[],
  isSuspended: boolean,
  { force = false }: { force?: boolean },
): Promise<number> {
  const kind = await context.kind('gitsyncs');
  // A repository may bring GitSyncs, too.
  const owned = await Promise.all(words.map((word) => context.client.json<WireObject>(objectPath(kind, nameOf(word)))));
  respectGitSync(owned, force);
  for (const word of words) {
    await patch(context, word, { spec: { suspend: isSuspended ? true : null } });
    printLine(`gitsync/${nameOf(word)} ${isSuspended ? 'suspended' : 'resumed'}`);
  }
  return exitCode.ok;
}

interface WirePreview {
  readonly revision: string;
  readonly objects: readonly {
    readonly kind: string;
    readonly name: string;
    readonly action: 'create' | 'change' | 'prune';
    readonly before?: WireObject;
    readonly after?: WireObject;
  }[];
  readonly problems: readonly string[];
}

/** What the next sync would do, as a unified diff. Exit 0 nothing, 1 something, 2 an error. */
export async function gitDiff(context: Context, word: string): Promise<number> {
  // Reading a diff's objects takes what the other verbs here do without.
  const { patchText } = await import('./diff.js');
  const kind = await context.kind('gitsyncs');
  const preview = await context.client.json<WirePreview>(`${objectPath(kind, nameOf(word))}/preview`);
  for (const { kind: objectKind, name, action, before, after } of preview.objects) {
    const { singular } = await context.kind(objectKind);
    if (before === undefined && after === undefined) printLine(`${singular}/${name}: would be ${words[action]}; its values are not shown`);
    else print(await patchText(`${singular}/${name}`, before, action === 'prune' ? undefined : after));
  }
  for (const problem of preview.problems) complain(problem);
  say(`revision ${preview.revision}`);
  if (preview.problems.length > 0) return 2;
  return preview.objects.length === 0 ? exitCode.ok : 1;
}

const words = { create: 'created', change: 'changed', prune: 'deleted' } as const;

/** `flotilla delete`: asks for the deletion, then waits until process, file and object are gone, saying for whom it waits. */
import { type Context, objectPath } from '../context.js';
import { CliError, exitCode, usageError } from '../exit.js';
import { respectGitSync } from '../gitsync-owner.js';
import { mapParallel } from '../in-parallel.js';
import type { KindInfo } from '../kinds.js';
import { listAll } from '../listing.js';
import { conditionOf, type WireObject } from '../objects.js';
import { complain, printLine, say } from '../output.js';
import { followObject } from './wait.js';

export type Cascade = 'background' | 'foreground' | 'orphan';

/** The same in the words of the wire. */
const policies: Readonly<Record<Cascade, string>> = { background: 'Background', foreground: 'Foreground', orphan: 'Orphan' };

export interface DeleteOptions {
  readonly filename: readonly string[];
  readonly recursive?: boolean;
  readonly selector?: string;
  readonly wait: boolean;
  readonly timeoutMs: number;
  readonly force?: boolean;
  readonly cascade: Cascade;
  readonly ignoreNotFound?: boolean;
}

/** After this long without an end, the command says what it is waiting for. */
const sayWhyAfterMs = 2_000;
const parallelReads = 32;

export async function remove(context: Context, words: readonly string[], options: DeleteOptions): Promise<number> {
  const targets = await wanted(context, words, options);
  respectGitSync(await kept(context, targets), options.force ?? false, 'destroyed');
  let failures = 0;
  const pending: { kind: KindInfo; object: WireObject }[] = [];
  for (const { kind, name } of targets) {
    const reply = await context.client.fetch(objectPath(kind, name), {
      method: 'DELETE',
      body: {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        propagationPolicy: policies[options.cascade],
        ...(options.force ? { gracePeriodSeconds: 0 } : {}),
      },
    });
    if (reply.status === 404 && options.ignoreNotFound) continue;
    if (reply.status >= 400) {
      failures += 1;
      complain(context.client.refusal(reply));
      continue;
    }
    printLine(`${kind.singular}/${name} deleted`);
    const answer = JSON.parse(reply.text) as WireObject;
    if (answer.kind === kind.kind) pending.push({ kind, object: answer });
  }
  if (options.wait) failures += await waitGone(context, pending, options.timeoutMs);
  return failures === 0 ? exitCode.ok : exitCode.failed;
}

async function wanted(context: Context, words: readonly string[], options: DeleteOptions): Promise<{ kind: KindInfo; name: string }[]> {
  if (options.filename.length > 0) {
    if (words.length > 0) throw usageError('either -f FILE or KIND NAME, not both');
    // Only here: to read manifests means to load all that knows them.
    const [{ loadManifests }, { manifestErrorText }] = await Promise.all([
      import('../manifest-files.js'),
      import('../../api/resources/manifests.js'),
    ]);
    const { documents, errors } = await loadManifests(options.filename, { recursive: options.recursive, identityOnly: true });
    const [first] = errors;
    if (first) throw new CliError(manifestErrorText(first));
    // Instances before their template, which cannot go while it has followers.
    const all = await Promise.all(
      documents.map(async ({ object }) => ({ kind: await context.kind(object.kind), name: object.metadata.name })),
    );
    return all.sort((a, b) => Number(/@\./.test(a.name)) - Number(/@\./.test(b.name)));
  }
  const targets = await context.targets(words);
  const found: { kind: KindInfo; name: string }[] = [];
  for (const { kind, names } of targets) {
    if (names.length > 0) found.push(...names.map((name) => ({ kind, name })));
    else if (options.selector !== undefined) {
      found.push(...(await listAll(context, kind, { selector: options.selector })).map((object) => ({ kind, name: object.metadata.name })));
    } else throw usageError(`which ${kind.singular}? Give names, or -l SELECTOR`);
  }
  return found;
}

/** The targets as they are now. What cannot be read is the DELETE's to complain of. */
async function kept(context: Context, targets: readonly { readonly kind: KindInfo; readonly name: string }[]): Promise<WireObject[]> {
  const found = await mapParallel(targets, parallelReads, async ({ kind, name }) => {
    const { status, text } = await context.client.fetch(objectPath(kind, name));
    const object = status === 200 ? (JSON.parse(text) as WireObject) : undefined;
    return object?.kind === kind.kind ? [object] : [];
  });
  return found.flat();
}

async function waitGone(context: Context, pending: readonly { kind: KindInfo; object: WireObject }[], timeoutMs: number): Promise<number> {
  const failures = await Promise.all(
    pending.map(async ({ kind, object }) => {
      const { name, uid } = object.metadata;
      let why = '';
      const timer = setTimeout(() => {
        if (why) say(`${kind.singular}/${name}: ${why}`);
      }, sayWhyAfterMs);
      const isGone = await followObject(context, kind, name, timeoutMs, (seen) => {
        why = (seen && ['Scheduled', 'Ready', 'Available'].map((type) => conditionOf(seen, type)?.message).find(Boolean)) || why;
        return seen === undefined || seen.metadata.uid !== uid;
      });
      clearTimeout(timer);
      if (!isGone) complain(`${kind.singular}/${name} is still there after ${timeoutMs / 1_000} s${why ? `: ${why}` : ''}`);
      return isGone ? 0 : 1;
    }),
  );
  return failures.reduce<number>((sum, failed) => sum + failed, 0);
}

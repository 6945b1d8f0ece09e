/** `flotilla wait --for=condition=X KIND/NAME`: ends when it is so; exit 124 when it was not in time. */
import type { Context } from '../context.js';
import { CliError, exitCode, usageError } from '../exit.js';
import { followObjects } from '../following.js';
import type { KindInfo } from '../kinds.js';
import { listAll } from '../listing.js';
import { conditionOf, type WireObject } from '../objects.js';
import { complain, printLine } from '../output.js';

export interface WaitOptions {
  /** Default: the condition that says that the object is as it was asked to be. */
  readonly for?: string;
  readonly timeoutMs: number;
  readonly selector?: string;
}

type Met = (object: WireObject | undefined) => boolean;

export async function wait(context: Context, words: readonly string[], options: WaitOptions): Promise<number> {
  if (options.for !== undefined) parseFor(options.for);
  const targets: { kind: KindInfo; name: string }[] = [];
  for (const { kind, names } of await context.targets(words)) {
    const all =
      names.length > 0
        ? names
        : (await listAll(context, kind, options.selector ? { selector: options.selector } : {})).map((o) => o.metadata.name);
    targets.push(...all.map((name) => ({ kind, name })));
  }
  if (targets.length === 0) throw new CliError('nothing to wait for: no object matches');
  const outcomes = await Promise.all(
    targets.map(async ({ kind, name }) => {
      const what = options.for ?? `condition=${kind.plural === 'unitsets' ? 'Available' : 'Ready'}`;
      const met = parseFor(what);
      let last: WireObject | undefined;
      const isMet = await followObject(context, kind, name, options.timeoutMs, (object) => {
        last = object;
        return met(object);
      });
      if (isMet) printLine(`${kind.singular}/${name} ${what === 'delete' ? 'deleted' : 'condition met'}`);
      else complain(`timed out after ${options.timeoutMs / 1_000} s waiting for ${what} on ${kind.singular}/${name}${reasonOf(last)}`);
      return isMet;
    }),
  );
  return outcomes.every(Boolean) ? exitCode.ok : exitCode.timedOut;
}

/** The sentence of the first condition that is not as it should be. */
function reasonOf(object: WireObject | undefined): string {
  if (!object) return ': there is no such object';
  const condition = object.status?.conditions?.find(({ status }) => status !== 'True');
  return condition ? `: ${condition.message}` : '';
}

/** `condition=Ready`, `condition=Ready=false`, `delete`, `create`. A condition about an older generation does not count. */
function parseFor(text: string): Met {
  if (text === 'delete') return (object) => object === undefined;
  if (text === 'create') return (object) => object !== undefined;
  const found = /^condition=([^=]+)(?:=(\w+))?$/.exec(text);
  if (!found) throw usageError(`--for=${text}: expected condition=NAME, condition=NAME=STATUS, create or delete`);
  const [, type = '', status = 'true'] = found;
  return (object) => {
    if (!object) return false;
    const condition = conditionOf(object, type);
    const about = condition?.observedGeneration ?? object.status?.observedGeneration;
    if (about !== undefined && about < (object.metadata.generation ?? 0)) return false;
    return condition?.status.toLowerCase() === status.toLowerCase();
  };
}

/** Follows one object until `met` says so (undefined: it is not there). False when the time was up first. */
export const followObject = (context: Context, kind: KindInfo, name: string, timeoutMs: number, met: Met): Promise<boolean> =>
  followObjects(context, kind, [name], { timeoutMs }, met);

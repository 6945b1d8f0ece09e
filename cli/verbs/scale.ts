/** `flotilla scale KIND/NAME --replicas=N`: how many there should be, and nothing else about the object. */
import { type Context, objectPath } from '../context.js';
import { CliError, exitCode, usageError } from '../exit.js';
import { imperativeManager } from '../field-managers.js';
import { respectGitSync } from '../gitsync-owner.js';
import type { KindInfo } from '../kinds.js';
import type { WireObject } from '../objects.js';
import { complain, printLine } from '../output.js';

export interface ScaleOptions {
  readonly replicas: number;
  readonly currentReplicas?: number;
  readonly force?: boolean;
}

interface Target {
  readonly kind: KindInfo;
  readonly object: WireObject;
}

export async function scale(context: Context, words: readonly string[], options: ScaleOptions): Promise<number> {
  const targets: Target[] = [];
  for (const { kind, names } of await context.targets(words)) {
    if (names.length === 0) throw usageError(`which ${kind.singular}? Give names, as in ${kind.singular}/NAME`);
    for (const name of names) targets.push({ kind, object: await context.client.json<WireObject>(objectPath(kind, name)) });
  }
  respectGitSync(
    targets.map(({ object }) => object),
    options.force ?? false,
  );
  let failures = 0;
  for (const target of targets) {
    try {
      await scaleOne(context, target, options);
      printLine(`${target.kind.singular}/${target.object.metadata.name} scaled`);
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      failures += 1;
      complain(error);
    }
  }
  return failures === 0 ? exitCode.ok : exitCode.failed;
}

async function scaleOne(context: Context, { kind, object }: Target, { replicas, currentReplicas }: ScaleOptions): Promise<void> {
  const { name, resourceVersion } = object.metadata;
  const now = object.spec?.replicas;
  if (currentReplicas !== undefined && now !== undefined && now !== currentReplicas) {
    throw new CliError(`${kind.singular}/${name} has ${String(now)} replicas, not ${currentReplicas}: it was not scaled`);
  }
  const reply = await context.client.fetch(`${objectPath(kind, name)}/scale`, {
    method: 'PATCH',
    contentType: 'application/merge-patch+json',
    query: { fieldManager: imperativeManager },
    // Only if it still is as it was seen.
    body: { ...(currentReplicas === undefined ? {} : { metadata: { resourceVersion } }), spec: { replicas } },
  });
  // The object is there, so what cannot be found is the number.
  if (reply.status === 404) throw new CliError(`${kind.singular}/${name}: ${kind.plural} have no number of replicas`);
  if (reply.status >= 400) throw context.client.refusal(reply);
}

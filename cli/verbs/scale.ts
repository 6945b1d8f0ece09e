/** `flotilla scale KIND/NAME --replicas=N`: how many there should be, and nothing else about the object. */
import { type Context, type KindInfo, objectPath } from '../context.js';
import { CliError, exitCode, usageError } from '../exit.js';
import { imperativeManager } from '../field-managers.js';
import { complain, printLine } from '../output.js';

export interface ScaleOptions {
  readonly replicas: number;
  readonly currentReplicas?: number;
}

interface Scale {
  readonly metadata: { readonly resourceVersion: string };
  readonly spec: { readonly replicas: number };
}

export async function scale(context: Context, words: readonly string[], options: ScaleOptions): Promise<number> {
  const targets = (await context.targets(words)).flatMap(({ kind, names }) => {
    if (names.length === 0) throw usageError(`which ${kind.singular}? Give names, as in ${kind.singular}/NAME`);
    return names.map((name) => ({ kind, name }));
  });
  let failures = 0;
  for (const { kind, name } of targets) {
    try {
      await scaleOne(context, kind, name, options);
      printLine(`${kind.singular}/${name} scaled`);
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      failures += 1;
      complain(error);
    }
  }
  return failures === 0 ? exitCode.ok : exitCode.failed;
}

async function scaleOne(context: Context, kind: KindInfo, name: string, { replicas, currentReplicas }: ScaleOptions): Promise<void> {
  const path = `${objectPath(kind, name)}/scale`;
  let condition = {};
  if (currentReplicas !== undefined) {
    const { metadata, spec } = await context.client.json<Scale>(path);
    if (spec.replicas !== currentReplicas) {
      throw new CliError(`${kind.singular}/${name} has ${spec.replicas} replicas, not ${currentReplicas}: it was not scaled`);
    }
    condition = { metadata: { resourceVersion: metadata.resourceVersion } };
  }
  const reply = await context.client.fetch(path, {
    method: 'PATCH',
    contentType: 'application/merge-patch+json',
    query: { fieldManager: imperativeManager },
    body: { ...condition, spec: { replicas } },
  });
  // An object that is not there has another message: this one is about the path.
  if (reply.status === 404 && reply.text.includes('could not find the requested resource')) {
    throw new CliError(`${kind.singular}/${name}: ${kind.plural} have no number of replicas`);
  }
  if (reply.status >= 400) throw context.client.refusal(reply);
}

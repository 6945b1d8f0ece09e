/** PATCH of `/machines`, as fleet takes it: read and checked as a whole before anything is written. Pure. */
import { z } from 'zod';
import { StatusError } from '../../resources/errors.js';
import { labelKeyProblem, labelValueProblem } from '../../resources/meta-validation.js';

/** In fleet's form the value lies in an object; what else a list entry holds is passed over. */
export const MetadataPatch = z.array(
  z.object({
    op: z.string().nullish(),
    path: z.string().nullish(),
    value: z.object({ value: z.string().nullish() }).nullish(),
  }),
);
export type MetadataPatch = z.infer<typeof MetadataPatch>;

/** By machine id: what becomes of each key, in the order of the list; undefined removes it. */
export type MetadataChanges = ReadonlyMap<string, ReadonlyMap<string, string | undefined>>;

const pathForm = /^\/([^/]+)\/metadata\/([A-Za-z0-9_.-]+)$/;
const machineId = /^[0-9a-f]{32}$/;

/** Throws BadRequest, in fleet's words where fleet has them. */
export function metadataChanges(patch: MetadataPatch): MetadataChanges {
  const changes = new Map<string, Map<string, string | undefined>>();
  for (const { op, path, value } of patch) {
    if (op !== 'add' && op !== 'remove' && op !== 'replace') throw bad('invalid op: expect add, remove, or replace');
    const [, machine, key] = pathForm.exec(path ?? '') ?? [];
    if (machine === undefined || key === undefined) throw bad('machine metadata path invalid');
    if (!machineId.test(machine)) throw bad('machine metadata path invalid: a machine id has 32 hexadecimal digits');
    const text = op === 'remove' ? undefined : (value?.value ?? '');
    if (text === '') throw bad('invalid value: add and replace require a value');
    const problem = labelKeyProblem(key) ?? (text === undefined ? undefined : labelValueProblem(text));
    if (problem !== undefined) throw bad(`invalid metadata ${JSON.stringify(key)}: ${problem}`);
    const ofMachine = changes.get(machine) ?? new Map<string, string | undefined>();
    changes.set(machine, ofMachine.set(key, text));
  }
  return changes;
}

const bad = (message: string): StatusError => new StatusError('BadRequest', message);

/** Where a unit's text comes from, in fleet's order: its file, the template in the cluster, the template beside the file's path. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Unit } from '../../../api/resources/unit.js';
import { fleetHash } from '../../../api/resources/unit-file/fleet-hash.js';
import { templateNameOf, unitText } from '../../../api/resources/unit-text.js';
import { CliError } from '../../exit.js';
import type { WireObject } from '../../objects.js';
import type { Named } from './names.js';

/** A text that could become the unit's. */
export interface Candidate {
  readonly text: string;
  /** The file, `standard input`, or the template in the cluster. */
  readonly from: string;
  readonly kind: 'file' | 'template file' | 'template in the cluster';
}

/** The unit's file, or its template's beside it; undefined when neither is there. */
export async function localCandidate({ name, path }: Named): Promise<Candidate | undefined> {
  const own = await readIfThere(path);
  if (own !== undefined) return { text: own, from: path, kind: 'file' };
  const template = templateNameOf(name);
  if (template === undefined) return undefined;
  const beside = join(dirname(path), template);
  const text = await readIfThere(beside);
  return text === undefined ? undefined : { text, from: beside, kind: 'template file' };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new CliError(
      `${path}: ${code === 'EACCES' ? 'no permission to read it' : code === 'EISDIR' ? 'a directory, not a unit file' : message}`,
    );
  }
}

/** The text that the unit has in the cluster: its own, or its template's. */
export function clusterText(unit: WireObject, template: WireObject | undefined): string | undefined {
  return unitText(unit as Unit) ?? (template && unitText(template as Unit));
}

/** fleet's notion of the same: comments and layout aside. */
export const isSameText = (a: string | undefined, b: string): boolean => a !== undefined && fleetHash(a) === fleetHash(b);

/**
 * Refuses what is no unit file before anything is sent, naming file and line. What systemd would only warn about is the server's to say.
 * @throws CliError
 */
export async function checkText(name: string, { text, from }: Candidate): Promise<void> {
  const { manifestErrorText, parseManifests } = await import('../../../api/resources/manifests.js');
  const [error] = parseManifests(name, text).errors;
  if (error) throw new CliError(manifestErrorText({ ...error, file: from }));
}

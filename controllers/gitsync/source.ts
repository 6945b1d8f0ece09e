/** From a GitSync's spec to a commit and the objects in it. */

import { CannotOpen } from '../../api/objects/secret-box.js';
import { StatusError } from '../../api/resources/errors.js';
import type { GitSyncSpec } from '../../api/resources/gitsync.js';
import { shortRevision } from '../../api/resources/gitsync-kind.js';
import { credentialsFrom, type GitCredentials, type SecretData } from '../../runtime/git/credentials.js';
import { type GitProxy, proxyFrom } from '../../runtime/git/proxy.js';
import { type Revision, revisionText } from '../../runtime/git/refs.js';
import type { RepositoryAccess } from '../../runtime/git/repositories.js';
import { GitError } from '../../runtime/git/run.js';
import { BadRevision, type SyncDocument } from './documents.js';
import { loadDocuments } from './load.js';
import type { ParsedFiles } from './parsed-files.js';
import type { GitSources } from './ports.js';
import type { SyncSettings } from './settings.js';
import type { FailureReason, StallReason } from './status.js';

/** A step towards the objects did not succeed. */
export class SourceError extends Error {
  override readonly name = 'SourceError';

  constructor(
    readonly reason: FailureReason | StallReason,
    /** Somebody has to change something before it can. */
    readonly isFinal: boolean,
    message: string,
  ) {
    super(message);
  }
}

export interface Source {
  readonly access: RepositoryAccess;
  readonly spec: GitSyncSpec;
  readonly settings: SyncSettings;
}

/** Everything here rejects with SourceError, or with the signal's reason. */
export async function openSource(
  spec: GitSyncSpec,
  settings: SyncSettings,
  sources: GitSources,
  signal: AbortSignal | undefined,
): Promise<Source> {
  const { url, timeoutMs } = settings;
  const name = spec.secretRef?.name;
  const credentials: GitCredentials | undefined = name === undefined ? undefined : await credentialsOf(name);
  const proxy = spec.proxySecretRef === undefined ? undefined : await proxyOf(spec.proxySecretRef.name);
  return { spec, settings, access: { url, credentials, credentialsName: name, proxy, timeoutMs, signal } };

  async function credentialsOf(secret: string): Promise<GitCredentials> {
    const found = credentialsFrom(url, await readSecret(sources, secret, 'spec.secretRef'));
    if (!('problem' in found)) return found;
    throw new SourceError('SecretMissing', true, `Secret ${secret} cannot open the repository: ${found.problem}`);
  }

  async function proxyOf(secret: string): Promise<GitProxy> {
    const found = proxyFrom(url, await readSecret(sources, secret, 'spec.proxySecretRef'));
    if (!('problem' in found)) return found;
    throw new SourceError('SecretMissing', true, `Secret ${secret} names no proxy to the repository: ${found.problem}`);
  }
}

async function readSecret({ readSecret: read }: GitSources, name: string, field: string): Promise<SecretData> {
  let data: SecretData | undefined;
  try {
    data = await read(name);
  } catch (error) {
    // Sealed with a key that this server has not got, say.
    if (!(error instanceof StatusError) && !(error instanceof CannotOpen)) throw error;
    throw new SourceError('SecretMissing', true, `the Secret ${name} of ${field} cannot be read: ${error.message}`);
  }
  if (data === undefined) throw new SourceError('SecretMissing', true, `${field} names the Secret ${name}, which does not exist`);
  return data;
}

export const resolveRevision = ({ access, spec }: Source, { repositories }: GitSources): Promise<Revision> =>
  asSourceError(() => repositories.resolve(access, spec.ref ?? {}));

/** A revision as it was read. */
export interface ReadRevision {
  /** `main@sha1:…` */
  readonly text: string;
  readonly commit: string;
  readonly tag: string | undefined;
  /** Undefined: the path is not there. */
  readonly documents: readonly SyncDocument[] | undefined;
}

/** A commit that is here, and signed as was asked for. */
export interface Fetched {
  readonly source: Source;
  readonly revision: Revision;
}

/** Brings a commit here. Who signed it, where that was asked for, is known before the first file is read. */
export async function fetchRevision(source: Source, revision: Revision, sources: GitSources): Promise<Fetched> {
  const { repositories } = sources;
  const { access, spec } = source;
  const { commit, tag } = revision;
  await asSourceError(() => repositories.fetch(access, commit, spec.verify === undefined ? undefined : tag));
  if (spec.verify === undefined) return { source, revision };
  const keys = await readSecret(sources, spec.verify.keysSecretRef.name, 'spec.verify.keysSecretRef');
  try {
    await repositories.signer(access, revision, keys);
    return { source, revision };
  } catch (error) {
    if (!(error instanceof GitError) || error.fault !== 'refused') throw asSource(error);
    throw new SourceError('VerificationFailed', true, `${error.message}; it is not applied`);
  }
}

/** The objects of a commit, whole and checked. */
export async function readRevision(
  { source, revision }: Fetched,
  { repositories }: GitSources,
  parsed?: ParsedFiles,
): Promise<ReadRevision> {
  const { access, settings } = source;
  const { commit, tag } = revision;
  const text = revisionText(revision);
  try {
    const tree = await repositories.tree(access, commit, settings.path);
    return { text, commit, tag, documents: tree && (await loadDocuments(tree, parsed)) };
  } catch (error) {
    const isContent =
      error instanceof BadRevision || (error instanceof GitError && (error.fault === 'too-large' || error.fault === 'refused'));
    if (!isContent) throw asSource(error);
    throw new SourceError('InvalidManifests', true, `nothing of ${shortRevision(text)} is applied: ${error.message}`);
  }
}

async function asSourceError<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw asSource(error);
  }
}

function asSource(error: unknown): unknown {
  if (!(error instanceof GitError)) return error;
  const isFinal = error.fault === 'refused';
  return new SourceError(isFinal ? 'AccessRefused' : 'FetchFailed', isFinal, error.message);
}

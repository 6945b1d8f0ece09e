/**
 * Wire resourceVersions (SEMANTICS 1). All writes of one transaction share a revision, so a client that was cut in the middle of them
 * must be able to ask for that revision again: an object's number is even and means "from this revision on, itself included"; a list's or
 * bookmark's is odd and means "after this revision".
 */

export const objectVersion = (revision: number): string => String(2 * revision);
export const listVersion = (revision: number): string => String(2 * revision + 1);

/** The newest revision that whoever holds this number may have seen: a conditional write compares the stored one with it. */
export const revisionSeen = (version: number): number => Math.floor(version / 2);
/** The first revision that a watch from this number must deliver. */
export const firstRevisionAfter = (version: number): number => Math.ceil(version / 2);

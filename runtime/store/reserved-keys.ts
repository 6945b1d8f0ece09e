/**
 * Keys that the store keeps for itself. They lie beside everybody's root, are shared by all servers, are shown to nobody, and at most
 * 121 of them ever exist.
 */
const RESERVED = 'flotilla-store/';

/** See `GroupCommit`: every transaction compares its revision, and writing it shuts out transactions that are still under way. */
export const SEAL = `${RESERVED}seal`;

/** What a write that only deletes puts beside its deletions, so that the history tells them from somebody else's. */
export const deletionMark = (slot: number): string => `${RESERVED}deleted/${slot}`;

export const isReserved = (key: string): boolean => key.startsWith(RESERVED);

/**
 * Keys that the store keeps for itself. They lie beside everybody's root, are shared by all servers, are shown to nobody, and at most
 * 122 of them ever exist.
 */
const RESERVED = 'flotilla-store/';

/** See `GroupCommit`: every transaction compares its revision, and writing it shuts out transactions that are still under way. */
export const SEAL = `${RESERVED}seal`;

/** What a write that only deletes puts beside its deletions, so that the history tells them from somebody else's. */
export const deletionMark = (slot: number): string => `${RESERVED}deleted/${slot}`;

/**
 * Put beside every batch that puts anything. etcd 3.4 charges a transaction with the puts of its first level only, and lets one that costs
 * nothing pass a full quota: without this the database would grow past `--quota-backend-bytes` until the disk is full.
 */
export const CHARGE = `${RESERVED}charge`;

export const isReserved = (key: string): boolean => key.startsWith(RESERVED);

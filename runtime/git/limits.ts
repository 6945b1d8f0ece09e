/** What a repository may cost this server. */
export const gitLimits = {
  /** Bytes of one fetch, by the kernel's limit on the size of a file: what is larger ends git. */
  maxFetchBytes: 256 * 2 ** 20,
  /** A mirror that has grown beyond this is dropped and fetched anew: shallow as it is, that costs one fetch. */
  maxMirrorBytes: 512 * 2 ** 20,
  /** A mirror that nothing was fetched from for so long is dropped when another one is made; who wants it after all fetches once more. */
  mirrorIdleMs: 7 * 86_400_000,
  /** Bytes that ls-remote and ls-tree may print: some 100,000 refs or files. */
  maxListingBytes: 16 * 2 ** 20,
  /** What ls-remote may take, however long the rest may: who polls a repository that hangs holds others up. */
  listingTimeoutMs: 30_000,
  /** Files below the path that are read at one time, their size each and together. */
  maxFiles: 10_000,
  maxFileBytes: 2 ** 20,
  maxCheckoutBytes: 64 * 2 ** 20,
  /** Bytes of an error message of git that are kept. */
  maxErrorBytes: 16_384,
  /** What git does on this computer alone may take. */
  localTimeoutMs: 60_000,
} as const;
export type GitLimits = { readonly [Name in keyof typeof gitLimits]: number };

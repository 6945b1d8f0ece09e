/** Exit codes, the same for every verb (docs/operations.md): 0 done, 1 failed or differs, 2 wrong usage, 124 timed out, 130 interrupted. */
export const exitCode = { ok: 0, failed: 1, usage: 2, timedOut: 124, interrupted: 130 } as const;

/** Ends the command with a sentence on stderr and an exit code; thrown, caught once in main.ts. */
export class CliError extends Error {
  override readonly name = 'CliError';

  constructor(
    message: string,
    readonly code: number = exitCode.failed,
  ) {
    super(message);
  }
}

export const usageError = (message: string) => new CliError(message, exitCode.usage);

/** `flotilla dev`, as called from the command line. */
import { fileURLToPath } from 'node:url';
import { CliError, usageError } from '../exit.js';
import { dev } from './dev/dev.js';

export async function devRole(options: { machines: string; apply?: string }): Promise<number> {
  const machines = Number(options.machines);
  if (!Number.isInteger(machines) || machines < 1 || machines > 50)
    throw usageError(`--machines ${options.machines}: expected a number from 1 to 50`);
  const abort = new AbortController();
  const stop = () => abort.abort(new Error('interrupted'));
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, stop);
  // Ctrl-C also ends the `tee` that reads us. Whoever reads no more wants an end, and one that leaves nothing behind.
  for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners('error').on('error', stop);
  return dev({
    machines,
    program: fileURLToPath(
      new URL(process.argv[1]?.endsWith('.mjs') ? `file://${process.argv[1]}` : '../../dist/flotilla.mjs', import.meta.url),
    ),
    signal: abort.signal,
    ...(options.apply === undefined ? {} : { apply: options.apply }),
  }).catch((error: Error) => {
    // A part that would not start: its own words say why, our stack does not.
    throw new CliError(error.message);
  });
}

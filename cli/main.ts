#!/usr/bin/env node
/** Entry of the one program: runs a command line and makes its outcome the exit code. */
import { CliError, exitCode } from './exit.js';
import { complain } from './output.js';
import { runProgram } from './program.js';

// A reader that closed the pipe (`flotilla get units | head -1`) has what it wanted.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCode.ok);
  throw error;
});

try {
  const words = process.argv.slice(2);
  // kubectl runs what is on PATH under this name; it is a link to this very file.
  const isPlugin = process.argv[1]?.endsWith('/kubectl-flotilla') ?? false;
  process.exitCode = isPlugin ? await (await import('./kubectl-plugin.js')).runPlugin(words, runProgram) : await runProgram(words);
} catch (error) {
  if (!(error instanceof CliError)) throw error;
  complain(error);
  process.exitCode = error.code;
}

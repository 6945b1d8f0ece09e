/** Runs command lines that come by message, one after the other, with all that they read and write in the messages. */
import { Readable } from 'node:stream';
import { CliError } from '../../cli/exit.js';
import { complain } from '../../cli/output.js';
import { runProgram } from '../../cli/program.js';
import type { Order, Ran } from './command-line.js';

const ownEnvironment = { ...process.env };

function captured(stream: NodeJS.WriteStream): { end(): string } {
  const { write } = stream;
  let text = '';
  stream.write = ((chunk: string | Uint8Array) => {
    text += chunk.toString();
    return true;
  }) as typeof write;
  return {
    end() {
      stream.write = write;
      return text;
    },
  };
}

process.on('message', ({ argv, cwd, env, input }: Order) => {
  void (async () => {
    process.chdir(cwd);
    for (const name of Object.keys(process.env)) if (/^(FLOTILLA|FLEETCTL)_/.test(name)) delete process.env[name];
    Object.assign(process.env, ownEnvironment, { NO_COLOR: '1' });
    for (const [name, value] of Object.entries(env)) if (value !== undefined) process.env[name] = value;
    Object.defineProperty(process, 'stdin', { value: Readable.from(input === '' ? [] : [Buffer.from(input)]), configurable: true });
    const [stdout, stderr] = [captured(process.stdout), captured(process.stderr)];
    let code: number;
    try {
      code = await runProgram(argv);
    } catch (error) {
      if (error instanceof CliError) {
        complain(error);
        code = error.code;
      } else {
        process.stderr.write(String((error as Error).stack));
        code = -1;
      }
    }
    const ran: Ran = { code, stdout: stdout.end(), stderr: stderr.end() };
    process.send?.(ran);
  })();
});

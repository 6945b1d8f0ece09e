/** Verbs that look at machines from near, fleet's `status`, `journal` and `ssh`, and the flags of ssh, which `--tunnel` has for all verbs. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { journalFormats } from '../../api/resources/unit-output.js';
import { complain } from '../output.js';
import { defaultSshTimeoutSeconds, hostKeyWords } from '../ssh/arguments.js';
import { arrangeSshWords, withHostKeyValue } from '../ssh/words.js';
import { count, oneOf, option, seconds, type Tools } from './tools.js';

const hostKeyValues = Object.keys(hostKeyWords);

export function declareSshOptions(program: Command): void {
  program
    .addOption(option('--tunnel <host>', 'reach the server through ssh to this host, as in host, host:port or user@host'))
    .addOption(option('--ssh-username <name>', 'user to log in as; default: what ssh_config says'))
    .addOption(option('--ssh-timeout <seconds>', 'how long ssh may take to connect').default(defaultSshTimeoutSeconds).argParser(seconds))
    .addOption(
      option('--strict-host-key-checking <how>', `${hostKeyValues.join(', ')}; default: what ssh_config says`).argParser(
        oneOf(hostKeyValues),
      ),
    )
    .addOption(option('--known-hosts-file <file>', "where ssh keeps the keys of hosts; default: ssh's own"));
}

export function declareRemote(program: Command, { online }: Tools): void {
  program
    .command('status')
    .summary('what systemctl status says')
    .description(
      'Shows units as systemctl status does on their machines, and ends with its exit code: 3 for one that does not run, for example.',
    )
    .argument('[units...]', 'names, with or without .service; quoted globs; - for names on standard input')
    .option('--machine <machine>', 'only this machine: id, beginning of the id, or hostname')
    .addOption(new Option('--ssh-port <port>', 'accepted for the habit; no ssh is used').hideHelp())
    .action(online(async (context, words: string[], options) => (await import('../verbs/status.js')).status(context, words, options)));

  program
    .command('journal')
    .summary("a unit's journal, as fleetctl prints it")
    .description("Prints a unit's journal, from whichever machines run it.")
    .argument('<unit>', 'name of the unit; .service may be left out')
    .option('-f, --follow', 'keep printing what comes')
    .option('-n, --lines <number>', 'how many of the last lines to begin with', count, 10)
    .option('-o, --output <format>', `format of journalctl: ${journalFormats.join(', ')}`, oneOf(journalFormats), 'short')
    .option('--machine <machine>', 'only this machine: id, beginning of the id, or hostname')
    .addOption(new Option('--sudo', 'accepted for the habit; the agent is root').hideHelp())
    .addOption(new Option('--ssh-port <port>', 'accepted for the habit; no ssh is used').hideHelp())
    .action(
      online(async (context, word: string, options) => {
        const { named } = await import('../verbs/fleet/names.js');
        return (await import('../verbs/logs.js')).logs(context, named(word).name, options);
      }),
    );

  program
    .command('ssh')
    .summary('a shell, or a command, on a machine')
    .description('Runs ssh to a machine, or to the machine that has a unit: a shell, or the command that follows. Ends with its exit code.')
    .argument('[words...]', 'MACHINE or UNIT, and the command')
    .option('--machine <machine>', 'id, beginning of the id, or hostname')
    .option('--unit <unit>', 'name of a unit')
    .option('-A, --forward-agent', 'let the far side use your ssh agent')
    .option('--ssh-port <port>', 'port of its ssh server; default: what ssh_config says', port)
    .action(online(async (context, words: string[], options) => (await import('../verbs/ssh.js')).ssh(context, words, options)));
}

const port = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 65_535) throw new InvalidArgumentError('expected a number from 1 to 65535.');
  return value;
};

/** The command line as it can be read by flags: the command of `ssh` set apart, and a host key flag with its value. */
export function arrangeWords(program: Command, argv: readonly string[]): readonly string[] {
  const flags = [program, ...program.commands.filter((command) => command.name() === 'ssh')].flatMap(({ options }) => options);
  const takesValue = (word: string) => {
    const option = flags.find(({ long, short }) => word === long || word === short);
    return option && (option.required || option.optional);
  };
  const { argv: arranged, dropped } = arrangeSshWords(argv, takesValue);
  if (dropped.length > 0) complain(`the command begins behind --; left out: ${dropped.join(' ')}`);
  const end = arranged.indexOf('--');
  const [ours, theirs] = end < 0 ? [arranged, []] : [arranged.slice(0, end), arranged.slice(end)];
  return [...withHostKeyValue(ours, hostKeyValues), ...theirs];
}

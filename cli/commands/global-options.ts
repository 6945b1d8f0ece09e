/** Options of every verb: where the server is, and how to speak with it. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { readEndpoint } from '../endpoint.js';
import { say } from '../output.js';
import { option, seconds } from './tools.js';

const defaultEndpoint = 'unix:///run/flotilla/flotilla.sock';

export function declareGlobalOptions(program: Command): void {
  program
    .addOption(
      option('--endpoint <url>', 'where the server is: unix:///path or https://host:port').default(defaultEndpoint).argParser(endpoint),
    )
    .addOption(option('--ca-file <file>', "PEM file of the cluster's CA"))
    .addOption(option('--cert-file <file>', 'PEM file of a client certificate'))
    .addOption(option('--key-file <file>', "PEM file of that certificate's key"))
    .addOption(option('--request-timeout <seconds>', 'how long to wait until an answer begins').default(30).argParser(seconds))
    .addOption(debugOption());
  declareFleetsOwn(program);
}

/** As a variable it has a value, of which fleet took `false` for no. */
function debugOption(): Option {
  const made = new Option('--debug', 'say on stderr what is asked of the server, and how it answers');
  const set = process.env.FLOTILLA_DEBUG || process.env.FLEETCTL_DEBUG;
  return set && !/^(0|false|no|off)$/i.test(set) ? made.default(true, 'on, by its variable') : made;
}

function endpoint(text: string): string {
  const read = readEndpoint(text);
  if ('problem' in read) throw new InvalidArgumentError(`${read.problem}.`);
  if (read.word !== undefined) say(read.word);
  return read.url;
}

/** Flags that fleetctl had because it could talk with etcd: harmless ones are taken for the habit, the others would mean something that is not. */
function declareFleetsOwn(program: Command): void {
  const hidden = (flags: string, about: string) => option(flags, about).hideHelp();
  const driver = (text: string) => {
    if (text.toLowerCase() === 'api') return text;
    throw new InvalidArgumentError('only "API" is there: servers alone talk with etcd, and everybody else with a server.');
  };
  const needless = (flag: string) => (text: string) => {
    say(`${flag} does nothing: servers alone talk with etcd`);
    return text;
  };
  program
    .addOption(hidden('--driver <driver>', "fleet's; only API").argParser(driver))
    .addOption(new Option('--experimental-api').hideHelp());
  for (const flag of ['--etcd-key-prefix', '--etcd-cafile', '--etcd-certfile', '--etcd-keyfile'])
    program.addOption(hidden(`${flag} <value>`, "fleet's; ignored").argParser(needless(flag)));
}

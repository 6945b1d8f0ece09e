/** What the files that declare verbs share: running a verb, flags that many have, and how their values are read. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { didYouMean } from '../../api/resources/suggest.js';
import type { Context } from '../context.js';

export interface Tools {
  /** Makes an action of a verb that talks to the server: it gets a context, its arguments and its options, and resolves with the exit code. */
  readonly online: <Args extends unknown[]>(
    verb: (context: Context, ...args: Args) => Promise<number>,
  ) => (...args: [...Args, ...unknown[]]) => Promise<void>;
}

/** An option of every verb, which its variable can set too: FLOTILLA_X, or fleet's FLEETCTL_X where only that is set. */
export function option(flags: string, about: string): Option {
  const made = new Option(flags, about);
  const name = made.name().toUpperCase().replaceAll('-', '_');
  const variables = [`FLOTILLA_${name}`, `FLEETCTL_${name}`] as const;
  const set = variables.find((variable) => process.env[variable]);
  // An empty variable is as good as none, which Commander would not think.
  if (set === undefined && variables[0] in process.env) return made;
  return made.env(set ?? variables[0]);
}

export const seconds = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('expected a number of seconds.');
  return value;
};

export const count = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('expected a whole number.');
  return value;
};

/** The value of a flag that takes one of some words. */
export const oneOf =
  <const Words extends readonly string[]>(words: Words) =>
  (text: string): Words[number] => {
    if (words.includes(text)) return text;
    throw new InvalidArgumentError(`expected one of ${words.join(', ')}${didYouMean(text, words)}`);
  };

/** A list, separated by commas or by repeating the flag. */
export const collect = (value: string, previous: readonly string[]): string[] => [...previous, ...value.split(',')];

export const manifests = (command: Command) =>
  command
    .option('-f, --filename <file>', 'manifest, unit file, directory, or - for standard input; may be repeated', collect, [])
    .option('-R, --recursive', 'look into folders of folders too');

export const timeout = (command: Command, fallback: string, about: string) => command.option('--timeout <duration>', about, fallback);

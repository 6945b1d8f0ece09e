/** What the files that declare verbs share: running a verb, flags that many have, and how their values are read. */
import { type Command, InvalidArgumentError } from 'commander';
import { didYouMean } from '../../api/resources/suggest.js';
import type { Context } from '../context.js';

export interface Tools {
  /** Makes an action of a verb that talks to the server: it gets a context, its arguments and its options, and resolves with the exit code. */
  readonly online: <Args extends unknown[]>(
    verb: (context: Context, ...args: Args) => Promise<number>,
  ) => (...args: [...Args, ...unknown[]]) => Promise<void>;
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

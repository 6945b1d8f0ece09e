/**
 * The words of `flotilla ssh`, before flags are read: those of the command that is to run elsewhere may look like flags of ours, and are
 * put behind `--`. Pure.
 */

/** Whether an option takes the next word as its value; undefined when it is not known. */
export type TakesValue = (option: string) => boolean | undefined;

export interface ArrangedWords {
  readonly argv: readonly string[];
  /** What stood between the target and a `--`, which begins the command: no part of it. */
  readonly dropped: readonly string[];
}

/** The index of the verb: the first word that is neither a flag nor the value of one; -1 when there is none. */
function verbIndex(argv: readonly string[], takesValue: TakesValue): number {
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    if (word === '--') return -1;
    if (!isFlag(word)) return at;
    if (takesValue(word)) at++;
  }
  return -1;
}

const isFlag = (word: string): boolean => word.length > 1 && word.startsWith('-');

/** Flags that name the target, so that every word is one of the command. */
const isTargetFlag = (word: string): boolean => /^--(machine|unit)(=|$)/.test(word);

/**
 * `ssh hello ls -l` becomes `ssh hello -- ls -l`: the command begins with the first word that is not a flag behind the target, or behind a
 * `--`, whichever is there. Everything else stays as it is.
 */
export function arrangeSshWords(argv: readonly string[], takesValue: TakesValue): ArrangedWords {
  const verb = verbIndex(argv, takesValue);
  if (verb < 0 || argv[verb] !== 'ssh') return { argv, dropped: [] };
  let hasTarget = argv.slice(0, verb).some(isTargetFlag);
  let at = verb + 1;
  for (; at < argv.length; at++) {
    const word = argv[at]!;
    if (word === '--') break;
    if (isFlag(word)) {
      hasTarget ||= isTargetFlag(word);
      if (takesValue(word)) at++;
    } else if (hasTarget) break;
    else hasTarget = true;
  }
  const command = argv.slice(at);
  const dashes = command.indexOf('--');
  return {
    argv: at >= argv.length ? argv : [...argv.slice(0, at), '--', ...command.slice(dashes + 1)],
    dropped: command.slice(0, Math.max(0, dashes)),
  };
}

/** `--strict-host-key-checking` alone means true, as in fleet; a word that is no value of it is left to whom it is for. */
export const withHostKeyValue = (argv: readonly string[], values: readonly string[]): string[] =>
  argv.map((word, at) => (word === '--strict-host-key-checking' && !values.includes(argv[at + 1] ?? '') ? `${word}=true` : word));

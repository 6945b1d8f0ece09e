/** What a machine can be asked to show of a unit that it runs: its journal, or what `systemctl status` says. Loaded by the client, too. */

/** Formats of journalctl that are text, line by line. Not among them: `export` and `json-seq`, which are neither. */
export const journalFormats = [
  'short',
  'short-precise',
  'short-iso',
  'short-iso-precise',
  'short-full',
  'short-monotonic',
  'short-unix',
  'verbose',
  'json',
  'json-pretty',
  'json-sse',
  'cat',
  'with-unit',
] as const;
export type JournalFormat = (typeof journalFormats)[number];

/** What is sent when nobody asks for another: it begins with a time that can be compared between machines. */
export const defaultJournalFormat: JournalFormat = 'short-iso';

/** HTTP header of a `systemd-status` answer: the exit code of the machine's systemctl. */
export const exitCodeHeader = 'flotilla-exit-code';

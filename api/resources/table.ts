/** Text tables as kubectl prints them: columns padded with spaces, no borders; and ages in kubectl's short form. */

/** Spaces between two columns, as in kubectl. */
const gap = 3;

/** A cell that would break its row, or steer the terminal, is shown with the character's escape instead. */
const oneLine = (cell: string): string =>
  cell.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (char) => {
    if (char === '\n') return '\\n';
    if (char === '\t') return '\\t';
    return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });

/**
 * Columns that a terminal needs for `text`: marks take none, East Asian wide characters and emoji take two. The ranges are the large
 * blocks of Unicode's EastAsianWidth table, enough for aligning names and descriptions.
 */
export function displayWidth(text: string): number {
  let width = 0;
  for (const char of text) {
    const code = char.codePointAt(0)!;
    if (code < 0x300) width += 1;
    else if (/\p{Mark}/u.test(char) || code === 0x200b || code === 0x200d) width += 0;
    else if (
      (code >= 0x1100 && code <= 0x115f) ||
      (code >= 0x2e80 && code <= 0xa4cf) ||
      (code >= 0xac00 && code <= 0xd7a3) ||
      (code >= 0xf900 && code <= 0xfaff) ||
      (code >= 0xfe30 && code <= 0xfe6f) ||
      (code >= 0xff00 && code <= 0xff60) ||
      (code >= 0xffe0 && code <= 0xffe6) ||
      (code >= 0x1f300 && code <= 0x1faff) ||
      (code >= 0x20000 && code <= 0x3fffd)
    )
      width += 2;
    else width += 1;
  }
  return width;
}

/**
 * The table as text, one line per row and a newline at the end of each; '' when there is nothing to print. `null` is a blank cell.
 * The last column is not padded, so no line ends in spaces.
 */
export function renderTable(headers: readonly string[] | undefined, rows: readonly (readonly (string | number | null)[])[]): string {
  const lines = [...(headers === undefined ? [] : [headers]), ...rows].map((row) =>
    row.map((cell) => (cell === null ? '' : oneLine(String(cell)))),
  );
  const widths: number[] = [];
  for (const line of lines) {
    line.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, displayWidth(cell));
    });
  }
  return lines
    .map((line) => {
      const padded = line.map((cell, column) => cell + ' '.repeat(widths[column]! - displayWidth(cell) + gap)).join('');
      return `${padded.trimEnd()}\n`;
    })
    .join('');
}

/**
 * Time between two instants as kubectl shows it: two units where that says more (`3h2m`), one from where it does not (`45h`, `9d`).
 * `<unknown>` for a time that cannot be read; `0s` for one in the future, since clocks differ a little.
 */
export function humanAge(from: string | Date | null | undefined, now: Date): string {
  if (from === null || from === undefined) return '<unknown>';
  const start = typeof from === 'string' ? Date.parse(from) : from.getTime();
  if (Number.isNaN(start)) return '<unknown>';
  return humanDuration(now.getTime() - start);
}

/** A length of time in milliseconds, in the steps that kubectl uses. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  const two = (large: number, largeUnit: string, small: number, smallUnit: string): string =>
    small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`;
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return two(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return `${minutes}m`;
  if (hours < 8) return two(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return `${hours}h`;
  if (days < 8) return two(days, 'd', hours % 24, 'h');
  if (days < 365 * 2) return `${days}d`;
  if (days < 365 * 8) return two(Math.floor(days / 365), 'y', days % 365, 'd');
  return `${Math.floor(days / 365)}y`;
}

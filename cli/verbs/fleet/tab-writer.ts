/** Columns as Go's text/tabwriter makes them with minwidth 0, tabwidth 8, padding 1 and tabs for padding: what fleetctl printed, byte for byte. */

const tabWidth = 8;
const padding = 1;

/** A code point is as wide as any other there. */
const width = (cell: string): number => [...cell].length;

/** All lines have as many cells as the first one. */
export function tabAligned(lines: readonly (readonly string[])[]): string {
  const columns = lines[0]?.length ?? 0;
  const widths = Array.from({ length: columns }, (_, at) => {
    const widest = Math.max(...lines.map((line) => width(line[at] ?? '')));
    return Math.ceil((widest + padding) / tabWidth) * tabWidth;
  });
  const padded = (cell: string, at: number) =>
    at === columns - 1 ? cell : cell + '\t'.repeat(Math.ceil((widths[at]! - width(cell)) / tabWidth));
  return lines.map((line) => `${line.map(padded).join('')}\n`).join('');
}

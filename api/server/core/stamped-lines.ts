/** A journal as JSON, one entry a line, turned into what `kubectl logs --timestamps` prints: each line behind the time it was written. */

/** Of an entry that is longer, which journald itself does not take, the end is cut off. */
const maxEntryBytes = 64 * 1024 * 1024;

export async function* stampedLines(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  for await (const chunk of bytes) {
    const end = chunk.lastIndexOf(0x0a);
    if (end < 0) {
      heldBytes += chunk.length;
      if (heldBytes <= maxEntryBytes) held.push(chunk);
      continue;
    }
    yield stamped(Buffer.concat([...held, chunk.subarray(0, end)]));
    held = [chunk.subarray(end + 1)];
    heldBytes = held[0]!.length;
  }
  if (heldBytes > 0) yield stamped(Buffer.concat(held));
}

const stamped = (entries: Buffer): Buffer =>
  Buffer.concat(
    entries
      .toString()
      .split('\n')
      .filter((entry) => entry !== '')
      .map(stampedEntry),
  );

/** An entry that cannot be read, because it was cut, is left out. */
function stampedEntry(text: string): Buffer {
  let entry: { readonly __REALTIME_TIMESTAMP?: unknown; readonly MESSAGE?: unknown };
  try {
    entry = JSON.parse(text) as typeof entry;
  } catch {
    return Buffer.alloc(0);
  }
  const time = timeOf(String(entry.__REALTIME_TIMESTAMP));
  const lines = messageOf(entry.MESSAGE).toString('latin1').replace(/\n$/, '').split('\n');
  // Bytes are kept as they are, whatever they mean: only their lines are told apart.
  return Buffer.from(lines.map((line) => `${time} ${line}\n`).join(''), 'latin1');
}

/** RFC 3339 to the microsecond. */
function timeOf(microseconds: string): string {
  if (!/^\d{1,18}$/.test(microseconds)) return '-';
  const padded = microseconds.padStart(7, '0');
  const seconds = new Date(Number(padded.slice(0, -6)) * 1_000).toISOString().slice(0, 19);
  return `${seconds}.${padded.slice(-6)}Z`;
}

/** What is no text comes as a list of bytes, and several fields of the name as a list of those. */
function messageOf(message: unknown): Buffer {
  if (typeof message === 'string') return Buffer.from(message);
  if (!Array.isArray(message)) return Buffer.alloc(0);
  return message.every((part) => typeof part === 'number') ? Buffer.from(message) : Buffer.concat(message.map(messageOf));
}

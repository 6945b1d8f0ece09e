/** A unit's object path on the bus: letters and digits stand for themselves, every other byte is `_` and two hex digits. */

const prefix = '/org/freedesktop/systemd1/unit/';

export function unitPath(name: string): string {
  if (name === '') return `${prefix}_`;
  let label = '';
  for (const [index, byte] of Buffer.from(name).entries()) {
    const isDigit = byte >= 0x30 && byte <= 0x39;
    const isLetter = (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
    label += isLetter || (isDigit && index > 0) ? String.fromCharCode(byte) : `_${byte.toString(16).padStart(2, '0')}`;
  }
  return prefix + label;
}

/** The unit's name; undefined for a path that is no unit's. */
export function unitName(path: string): string | undefined {
  if (!path.startsWith(prefix)) return undefined;
  const label = path.slice(prefix.length);
  if (label === '_') return '';
  if (!/^(?:[A-Za-z0-9]|_[0-9a-f]{2})+$/.test(label)) return undefined;
  const bytes = label.replace(/_([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

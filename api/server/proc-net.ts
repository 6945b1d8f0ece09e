/** `/proc/net/tcp` and `tcp6`: the local address of the socket with an inode. Pure. */
import { endianness } from 'node:os';

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

/** Undefined when the table has no such socket. */
export function netAddress(table: string, inode: string): TcpAddress | undefined {
  const found = localAddress(table, inode, 8);
  return found && { host: bytesOf(found.address).join('.'), port: found.port };
}

/** As `netAddress`, of `tcp6`. An IPv4 address in IPv6 clothes is an IPv4 address. */
export function net6Address(table: string, inode: string): TcpAddress | undefined {
  const found = localAddress(table, inode, 32);
  if (found === undefined) return undefined;
  const bytes = bytesOf(found.address);
  const isMapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  if (isMapped) return { host: bytes.slice(12).join('.'), port: found.port };
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[2 * at]! << 8) | bytes[2 * at + 1]!).toString(16));
  // The URL parser knows the shortest spelling.
  return { host: new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1), port: found.port };
}

function localAddress(table: string, inode: string, digits: number): { readonly address: string; readonly port: number } | undefined {
  for (const line of table.split('\n').slice(1)) {
    const columns = line.trim().split(/ +/);
    // sl, local, remote, state, queues, timer, retransmits, uid, timeout, inode
    if (columns[9] !== inode) continue;
    const [address = '', port = ''] = columns[1]!.split(':');
    return address.length === digits ? { address, port: Number.parseInt(port, 16) } : undefined;
  }
  return undefined;
}

/** Each word of 32 bits is written as a number of this computer, while the address lies in network order. */
const bytesOf = (hex: string): number[] =>
  (hex.match(/.{8}/g) ?? []).flatMap((word) => {
    const bytes = [...Buffer.from(word, 'hex')];
    return endianness() === 'LE' ? bytes.reverse() : bytes;
  });

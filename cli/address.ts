/** What an endpoint leads to: `unix:///path` or just `/path`, `https://host:port`, `http://127.0.0.1:port`. Pure. */
import { usageError } from './exit.js';

export type Address =
  | { readonly kind: 'unix'; readonly socketPath: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: string; readonly isTls: boolean };

/** Throws a usage error. */
export function addressOf(text: string): Address {
  const socketPath = text.startsWith('unix://') ? text.slice('unix://'.length) : text;
  if (socketPath.startsWith('/')) return { kind: 'unix', socketPath };
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    throw usageError(`endpoint ${JSON.stringify(text)}: expected unix:///path, https://host:port or http://127.0.0.1:port`);
  }
  const isTls = url.protocol === 'https:';
  return { kind: 'tcp', host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port || (isTls ? '443' : '80'), isTls };
}

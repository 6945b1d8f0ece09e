/** What may be said of an endpoint: fleet's spellings too. Pure. */
import { didYouMean } from '../api/resources/suggest.js';

const schemes = ['unix', 'file', 'http', 'https'] as const;

export type Endpoint = { readonly url: string; readonly word?: string } | { readonly problem: string };

const forms = 'expected unix:///path, https://host:port or http://127.0.0.1:port';

/** One URL as the client takes it, with a word where something was left out of account; or what is wrong. */
export function readEndpoint(text: string): Endpoint {
  const [first = '', ...others] = text.split(',').map((part) => part.trim());
  const word = others.length > 0 ? `only the first of ${others.length + 1} endpoints is used: ${first}` : undefined;
  const said = word === undefined ? {} : { word };
  if (first.startsWith('/')) return { url: `unix://${first}`, ...said };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(first)?.[1]?.toLowerCase();
  if (scheme === undefined) return { problem: `URL scheme undefined; ${forms}` };
  if (!(schemes as readonly string[]).includes(scheme))
    return { problem: `unknown scheme "${scheme}"${didYouMean(scheme, schemes)}; ${forms}` };
  const rest = first.slice(scheme.length + 3);
  if (scheme === 'unix' || scheme === 'file') {
    if (!rest.startsWith('/')) return { problem: `the path of a socket begins with a slash: unix:///${rest}` };
    return { url: `unix://${rest}`, ...said };
  }
  if (!URL.canParse(first)) return { problem: forms };
  return { url: first, ...said };
}

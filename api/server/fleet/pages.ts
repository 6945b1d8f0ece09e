/** fleet's pages: a token is the number of a page, nothing is kept for it. */
import { StatusError } from '../../resources/errors.js';

/** Entries on a page. A token names it, and fleet refuses one that names another. */
export const tokenLimit = 100;

/** URL-safe base64 of two little-endian uint16: the limit, and the page from 1. */
export function pageToken(page: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16LE(tokenLimit, 0);
  bytes.writeUInt16LE(page, 2);
  return bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}

/** The page that the query asks for. Throws BadRequest in fleet's words where the reference has them. */
export function pageOf(query: URLSearchParams): number {
  const tokens = query.getAll('nextPageToken');
  if (tokens.length > 1) throw new StatusError('BadRequest', 'too many values for page token');
  const [token] = tokens;
  if (token === undefined) return 1;
  // Buffer takes both alphabets and drops what is in neither, so the form is looked at first.
  const bytes = Buffer.from(/^[A-Za-z0-9_-]{6}(==)?$/.test(token) ? token : '', 'base64url');
  if (bytes.length !== 4) throw new StatusError('BadRequest', 'nextPageToken is not one that this server has given out');
  if (bytes.readUInt16LE(0) !== tokenLimit) throw new StatusError('BadRequest', `token limit must be ${tokenLimit}`);
  const page = bytes.readUInt16LE(2);
  if (page < 1) throw new StatusError('BadRequest', 'token page must be greater than zero');
  return page;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken?: string;
}

const maxPage = 0xffff;

export function cutFleetPage<T>(all: readonly T[], page: number): Page<T> {
  const start = (page - 1) * tokenLimit;
  const isLast = start + tokenLimit >= all.length || page === maxPage;
  return { items: all.slice(start, start + tokenLimit), ...(!isLast && { nextPageToken: pageToken(page + 1) }) };
}

/** `{}` when there is nothing: fleet leaves out whatever is empty. */
export const pageBody = (plural: string, items: readonly unknown[], nextPageToken: string | undefined): string =>
  JSON.stringify({ ...(items.length > 0 && { [plural]: items }), ...(nextPageToken !== undefined && { nextPageToken }) });

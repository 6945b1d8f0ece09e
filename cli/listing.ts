/** Reading many objects: lists page by page, and watches event by event. */
import { linesOf, type Status } from './client.js';
import { CliError } from './exit.js';
import type { KindInfo, Reader } from './kinds.js';
import type { WireList, WireObject } from './objects.js';

/** Objects per page of a list. */
const pageSize = 500;

export interface Selection {
  /** Labels. */
  readonly selector?: string;
  readonly fieldSelector?: string;
}

/** All pages of a list, in the form that `accept` asks for. */
export async function pagesOf<T extends { readonly metadata: { readonly continue?: string } }>(
  context: Reader,
  kind: KindInfo,
  { selector, fieldSelector }: Selection,
  accept: string,
): Promise<T[]> {
  const all: T[] = [];
  let next: string | undefined;
  do {
    const query = { limit: pageSize, continue: next, labelSelector: selector, fieldSelector };
    const page: T = await context.client.json<T>(kind.path, { accept, query });
    all.push(page);
    next = page.metadata.continue || undefined;
  } while (next !== undefined);
  return all;
}

/** Every object of a kind that the selectors match. */
export async function listAll(context: Reader, kind: KindInfo, selection: Selection = {}): Promise<WireObject[]> {
  const lists = await pagesOf<WireList>(context, kind, selection, 'application/json');
  return lists.flatMap((list) => list.items);
}

export interface WatchLine<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: T;
}

/** Events of a watch, one by one; ends when the server ends it. An ERROR event throws. */
export async function* watchEvents<T>(
  context: Reader,
  path: string,
  query: Readonly<Record<string, string | number | boolean | undefined>>,
  options: { accept?: string; signal?: AbortSignal } = {},
): AsyncGenerator<WatchLine<T>> {
  const response = await context.client.open(path, { query: { ...query, watch: true }, ...options });
  if ((response.statusCode ?? 0) >= 400) {
    let text = '';
    for await (const chunk of response) text += String(chunk);
    throw context.client.refusal({ status: response.statusCode ?? 0, text });
  }
  try {
    for await (const line of linesOf(response)) {
      if (line.trim() === '') continue;
      const event = JSON.parse(line) as WatchLine<T>;
      if (event.type === 'ERROR') throw new CliError(`the watch ended: ${(event.object as Status).message}`);
      if (event.type !== 'BOOKMARK') yield event;
    }
  } finally {
    response.destroy();
  }
}

export const escapeSelector = (value: string) => value.replace(/[\\,=]/g, (char) => `\\${char}`);

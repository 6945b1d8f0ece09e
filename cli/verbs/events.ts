/** `flotilla events`: what happened, oldest first. */
import { humanAge, renderTable } from '../../api/resources/table.js';
import type { Context } from '../context.js';
import { exitCode, usageError } from '../exit.js';
import type { WireList, WireObject } from '../objects.js';
import { forTerminal, print, printLine, say } from '../output.js';
import { escapeSelector, watchEvents } from './get.js';

interface WireEvent extends WireObject {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly count: number;
  readonly lastTimestamp: string;
  readonly involvedObject: { readonly kind: string; readonly name: string };
}

const path = '/api/v1/events';

export async function events(context: Context, options: { for?: string; watch?: boolean; headers: boolean }): Promise<number> {
  const fieldSelector = options.for === undefined ? undefined : await aboutSelector(context, options.for);
  const list = await context.client.json<WireList>(path, { query: { fieldSelector } });
  const found = (list.items as readonly WireEvent[]).toSorted((a, b) => (a.lastTimestamp < b.lastTimestamp ? -1 : 1));
  const now = new Date();
  const row = (event: WireEvent, at: Date) => [
    humanAge(event.lastTimestamp, at),
    event.type,
    event.reason,
    `${event.involvedObject.kind.toLowerCase()}/${event.involvedObject.name}`,
    `${event.message}${event.count > 1 ? ` (x${event.count})` : ''}`,
  ];
  if (found.length === 0 && !options.watch) say('No events found.');
  const headers = options.headers ? ['LAST SEEN', 'TYPE', 'REASON', 'OBJECT', 'MESSAGE'] : undefined;
  if (found.length > 0) {
    print(
      forTerminal(
        renderTable(
          headers,
          found.map((event) => row(event, now)),
        ),
      ),
    );
  }
  if (!options.watch) return exitCode.ok;
  for await (const event of watchEvents<WireEvent>(context, path, { fieldSelector, resourceVersion: list.metadata.resourceVersion })) {
    if (event.type !== 'DELETED') printLine(forTerminal(row(event.object, new Date()).join('   ')));
  }
  return exitCode.ok;
}

async function aboutSelector(context: Context, word: string): Promise<string> {
  const slash = word.indexOf('/');
  if (slash <= 0) throw usageError(`--for=${word}: expected KIND/NAME`);
  const kind = await context.kind(word.slice(0, slash));
  return `involvedObject.kind=${kind.kind},involvedObject.name=${escapeSelector(word.slice(slash + 1))}`;
}

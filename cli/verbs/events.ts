/** `flotilla events`: what happened, oldest first. */
import { humanAge, renderTable } from '../../api/resources/table.js';
import type { Context } from '../context.js';
import { exitCode, usageError } from '../exit.js';
import { escapeSelector, watchEvents } from '../listing.js';
import { machineLabels } from '../machines.js';
import { byTime, type WireEvent, type WireList } from '../objects.js';
import { forTerminal, print, printLine, say } from '../output.js';

const path = '/api/v1/events';

export async function events(context: Context, options: { for?: string; watch?: boolean; headers: boolean }): Promise<number> {
  const fieldSelector = options.for === undefined ? undefined : await aboutSelector(context, options.for);
  const [list, label] = await Promise.all([context.client.json<WireList>(path, { query: { fieldSelector } }), machineLabels(context)]);
  const row = ({ type, reason, message, count, lastTimestamp, involvedObject: { kind, name } }: WireEvent) => [
    humanAge(lastTimestamp, new Date()),
    type,
    reason,
    `${kind.toLowerCase()}/${kind === 'Machine' ? label(name) : name}`,
    `${message}${count > 1 ? ` (x${count})` : ''}`,
  ];
  const found = (list.items as readonly WireEvent[]).toSorted(byTime);
  if (found.length === 0 && !options.watch) say('No events found.');
  const headers = options.headers ? ['LAST SEEN', 'TYPE', 'REASON', 'OBJECT', 'MESSAGE'] : undefined;
  if (found.length > 0) print(forTerminal(renderTable(headers, found.map(row))));
  if (!options.watch) return exitCode.ok;
  for await (const event of watchEvents<WireEvent>(context, path, { fieldSelector, resourceVersion: list.metadata.resourceVersion })) {
    if (event.type !== 'DELETED') printLine(forTerminal(row(event.object).join('   ')));
  }
  return exitCode.ok;
}

async function aboutSelector(context: Context, word: string): Promise<string> {
  if (word.indexOf('/') <= 0) throw usageError(`--for=${word}: expected KIND/NAME, as in unit/web.service`);
  const [target] = await context.targets([word]);
  return `involvedObject.kind=${target!.kind.kind},involvedObject.name=${escapeSelector(target!.names[0]!)}`;
}

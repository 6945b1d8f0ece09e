/** `GET …/pods/<name>/log`: what `kubectl logs` asks, answered by the unit's journal on that machine. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { notFound } from '../../objects/status-errors.js';
import type { AssignmentSpec } from '../../resources/assignment.js';
import { StatusError } from '../../resources/errors.js';
import { paramsOf } from '../access.js';
import { type OutputRoutePorts, readJournalRequest, streamJournal, whileWanted } from '../output-routes.js';
import { flag, queryOf, wholeNumber } from '../query.js';
import type { Route } from '../routes.js';
import { defaultNamespace } from './kind.js';
import { containerName } from './pod.js';
import { podKind } from './pods.js';
import { stampedLines } from './stamped-lines.js';

export function podLogRoutes(ports: OutputRoutePorts): Route[] {
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const { name = '', namespace = defaultNamespace } = paramsOf(request);
    const query = queryOf(request);
    const { maxLogLines } = ports.limits;
    const asked = readJournalRequest(query, maxLogLines, maxLogLines);
    // journalctl counts lines from where it begins, and with a time that is not the end: the last ones are picked out here.
    const hasTime = asked.sinceSeconds !== undefined || asked.sinceMs !== undefined;
    const isPicked = hasTime && !asked.follow && asked.lines < maxLogLines;
    const wanted = isPicked ? { ...asked, lines: maxLogLines } : asked;
    const limitBytes = wholeNumber(query, 'limitBytes');
    const assignment = namespace === defaultNamespace ? ports.cache.joined('assignments', name) : undefined;
    if (!assignment) throw notFound(podKind, name);
    const container = query.get('container') ?? '';
    if (container !== '' && container !== containerName) {
      throw new StatusError('BadRequest', `container ${container} is not valid for pod ${name}: its one container is ${containerName}`);
    }
    const { unit, machine } = assignment.spec as AssignmentSpec;
    const isStamped = flag(query, 'timestamps') ?? false;
    const format = isStamped ? ({ output: 'json', field: 'MESSAGE' } as const) : ({ output: 'cat' } as const);
    const previous = flag(query, 'previous') ? { previous: true, follow: false } : {};
    const through = (bytes: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> => {
      const picked = isPicked ? lastLines(bytes, asked.lines) : bytes;
      const shown = isStamped ? stampedLines(picked) : picked;
      return limitBytes === undefined ? shown : firstBytes(shown, limitBytes);
    };
    return whileWanted(ports, request, reply, async (signal) => {
      try {
        await streamJournal(ports, reply, { show: 'journal', unit, machine, ...wanted, ...format, ...previous, signal }, through);
      } catch (error) {
        const isRefused = error instanceof StatusError && error.reason === 'BadRequest' && flag(query, 'previous');
        throw isRefused ? noPrevious(name, error.message) : error;
      }
    });
  };
  return [`/api/v1/${podKind.plural}/:name/log`, `/api/v1/namespaces/:namespace/${podKind.plural}/:name/log`].map((path) => ({
    method: 'GET',
    path,
    audience: 'any-authenticated',
    attributes: ({ params }) => ({
      resource: podKind.plural,
      subresource: 'log',
      verb: 'get',
      ...(params.name !== undefined && { name: params.name }),
    }),
    handler,
  }));
}

/** As kubelets word it, and why. */
const noPrevious = (pod: string, why: string): StatusError =>
  new StatusError('BadRequest', `previous terminated container "${containerName}" in pod "${pod}" not found: ${why}`);

async function* firstBytes(lines: AsyncIterable<Uint8Array>, limit: number): AsyncGenerator<Uint8Array> {
  let left = limit;
  for await (const chunk of lines) {
    yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return;
  }
}

/** Bytes that are held while the end of a journal is waited for; of longer ends the beginning is lost. */
const maxHeldBytes = 16 * 1024 * 1024;

async function* lastLines(bytes: AsyncIterable<Uint8Array>, lines: number): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  for await (const chunk of bytes) {
    held.push(chunk);
    heldBytes += chunk.length;
    if (heldBytes <= maxHeldBytes) continue;
    const kept = endOf(Buffer.concat(held), lines).subarray(-maxHeldBytes / 2);
    held = [kept];
    heldBytes = kept.length;
  }
  const end = endOf(Buffer.concat(held), lines);
  if (end.length > 0) yield end;
}

function endOf(text: Buffer, lines: number): Buffer {
  if (lines === 0) return text.subarray(text.length);
  // The last line ends with its newline, which begins none.
  let start = text.length - 1;
  for (let left = lines; left > 0 && start > 0; left--) start = text.lastIndexOf(0x0a, start - 1);
  return text.subarray(start <= 0 && text[0] !== 0x0a ? 0 : start + 1);
}

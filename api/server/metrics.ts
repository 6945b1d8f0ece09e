/** What the HTTP door measures of itself. Every label comes from a fixed list: no client can make new time series. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../runtime/clock.js';
import { latencyBuckets, type Metrics } from '../../runtime/metrics.js';
import type { WatchEnd } from './watch.js';

export interface WatchMetrics {
  opened(resource: string): void;
  ended(resource: string, why: WatchEnd | 'failed'): void;
}

export function watchMetrics(metrics: Metrics): WatchMetrics {
  const open = new Map<string, number>();
  metrics.observe('gauge', 'flotilla_api_watches', 'Watches that are open now.', ['resource'], () =>
    [...open].map(([resource, value]) => ({ labels: { resource }, value })),
  );
  const ended = metrics.counter('flotilla_api_watches_ended_total', 'Watches that ended, by reason.', ['resource', 'reason']);
  return {
    opened: (resource) => void open.set(resource, (open.get(resource) ?? 0) + 1),
    ended(resource, reason) {
      open.set(resource, (open.get(resource) ?? 1) - 1);
      ended.inc({ resource, reason });
    },
  };
}

const sizeBuckets = [1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
const mutating = new Set(['create', 'update', 'patch', 'delete', 'deletecollection', 'post', 'put']);

/** Verb and resource of a request as labels: the attributes of a registered route, or `other`. */
function labelsOf(request: FastifyRequest): { readonly verb: string; readonly resource: string } {
  const { attributes } = request;
  if (attributes === undefined) return { verb: 'other', resource: 'other' };
  if (!('resource' in attributes)) return { verb: attributes.method.toLowerCase(), resource: '' };
  const { resource, subresource, verb } = attributes;
  return { verb, resource: subresource === undefined ? resource : `${resource}/${subresource}` };
}

/** A hook that follows each request to the end of its answer, cut short or not. Streams are counted, not timed. */
export function measureRequests(metrics: Metrics, clock: Clock) {
  const duration = metrics.histogram(
    'flotilla_api_request_duration_seconds',
    'Time from the head of a request to the end of its answer; watches and logs are not in it.',
    latencyBuckets,
    ['verb', 'resource', 'code'],
  );
  const size = metrics.histogram('flotilla_api_response_size_bytes', 'Size of the answers to lists and gets.', sizeBuckets, [
    'verb',
    'resource',
  ]);
  const inflight = { readonly: 0, mutating: 0 };
  metrics.observe(
    'gauge',
    'flotilla_api_inflight_requests',
    'Requests that are being answered; watches and logs are not in it.',
    ['kind'],
    () => [
      { labels: { kind: 'readonly' }, value: inflight.readonly },
      { labels: { kind: 'mutating' }, value: inflight.mutating },
    ],
  );

  return (request: FastifyRequest, reply: FastifyReply): void => {
    const startedMs = clock.monotonicMs();
    const { verb, resource } = labelsOf(request);
    if (verb === 'watch' || resource.endsWith('/log')) return;
    const kind = mutating.has(verb) ? 'mutating' : 'readonly';
    const writtenBefore = request.socket.bytesWritten;
    inflight[kind]++;
    reply.raw.once('close', () => {
      inflight[kind]--;
      // 499: the client went away before the answer was complete.
      const code = reply.raw.writableFinished ? String(reply.raw.statusCode) : '499';
      duration.observe({ verb, resource, code }, (clock.monotonicMs() - startedMs) / 1000);
      if (verb === 'list' || verb === 'get') size.observe({ verb, resource }, request.socket.bytesWritten - writtenBefore);
    });
  };
}

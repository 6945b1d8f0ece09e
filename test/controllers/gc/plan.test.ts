import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Row } from '../../../api/objects/ports.js';
import type { Event } from '../../../api/resources/event.js';
import { maxEventsPerObject, overflow } from '../../../controllers/gc/plan.js';

const event = (name: string, modRevision: number): Row<Event> => ({
  key: `/flotilla/events/units/${name}/${modRevision}`,
  createRevision: modRevision,
  modRevision,
  value: {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `${name}.${modRevision}` },
    involvedObject: { kind: 'Unit', name },
    reason: 'Scheduled',
    message: '',
    type: 'Normal',
    count: 1,
    firstTimestamp: '',
    lastTimestamp: '',
    source: { component: 'test' },
  },
});

test('SEMANTICS 10: an object keeps its newest hundred events, and another one is not charged for them', () => {
  const many = Array.from({ length: maxEventsPerObject + 2 }, (_, at) => event('many.service', at + 1));
  const few = Array.from({ length: 3 }, (_, at) => event('few.service', at + 1));
  assert.deepEqual(
    overflow([...few, ...many]).map(({ key, modRevision }) => [key, modRevision]),
    [
      ['/flotilla/events/units/many.service/2', 2],
      ['/flotilla/events/units/many.service/1', 1],
    ],
  );
});

/** What the rest of the program asks about Events: core/v1 as Kubernetes' clients expect them, read-only. */
import { Event } from './event.js';
import type { Kind } from './kinds.js';
import type { FlotillaObject } from './meta.js';
import { humanAge } from './table.js';

const asEvent = (object: FlotillaObject): Event => object as unknown as Event;

export const eventKind: Kind = {
  group: '',
  version: 'v1',
  kind: 'Event',
  plural: 'events',
  singular: 'event',
  shortNames: ['ev'],
  categories: [],
  description: 'A dated sentence about an object; it expires.',
  schema: Event,
  writable: false,
  listTypes: {},
  columns: [
    {
      name: 'Last Seen',
      type: 'string',
      description: 'Time since it last happened.',
      priority: 0,
      cell: (object, now) => humanAge(asEvent(object).lastTimestamp, now),
    },
    { name: 'Type', type: 'string', description: 'Normal or Warning.', priority: 0, cell: (object) => asEvent(object).type },
    { name: 'Reason', type: 'string', description: 'One word for programs.', priority: 0, cell: (object) => asEvent(object).reason },
    {
      name: 'Object',
      type: 'string',
      description: 'What it is about.',
      priority: 0,
      cell: (object) => `${asEvent(object).involvedObject.kind.toLowerCase()}/${asEvent(object).involvedObject.name}`,
    },
    {
      name: 'Message',
      type: 'string',
      description: 'A sentence for people.',
      priority: 0,
      cell: (object) => asEvent(object).message.trim(),
    },
    {
      name: 'Source',
      type: 'string',
      description: 'Which part of the system says so.',
      priority: 1,
      cell: (object) => [asEvent(object).source.component, asEvent(object).source.host].filter(Boolean).join(', '),
    },
    {
      name: 'First Seen',
      type: 'string',
      description: 'Time since it first happened.',
      priority: 1,
      cell: (object, now) => humanAge(asEvent(object).firstTimestamp, now),
    },
    { name: 'Count', type: 'integer', description: 'How often it happened.', priority: 1, cell: (object) => asEvent(object).count },
    { name: 'Name', type: 'string', description: 'Name of the event object.', priority: 1, cell: ({ metadata }) => metadata.name },
  ],
  selectableFields: {
    'involvedObject.kind': (object) => asEvent(object).involvedObject.kind,
    'involvedObject.apiVersion': (object) => asEvent(object).involvedObject.apiVersion ?? '',
    'involvedObject.name': (object) => asEvent(object).involvedObject.name,
    'involvedObject.namespace': (object) => asEvent(object).involvedObject.namespace ?? '',
    'involvedObject.uid': (object) => asEvent(object).involvedObject.uid ?? '',
    reason: (object) => asEvent(object).reason,
    type: (object) => asEvent(object).type,
    source: (object) => asEvent(object).source.component,
  },
  withDefaults: (object) => object,
  validate: () => [],
};

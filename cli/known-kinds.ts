/**
 * The kinds that every server of this version serves, by the words that people use for them: with these at hand a verb need not ask the
 * server for its kinds first. A test keeps them in step with what the server publishes; whatever is not here is asked for.
 */
import type { KindInfo } from './kinds.js';

const flotilla = (kind: string, plural: string, shortNames: readonly string[] = []): KindInfo => ({
  kind,
  plural,
  singular: kind.toLowerCase(),
  shortNames,
  path: `/apis/flotilla.dev/v1/${plural}`,
});

export const knownKinds: readonly KindInfo[] = [
  flotilla('Unit', 'units', ['un']),
  flotilla('UnitSet', 'unitsets', ['us']),
  flotilla('Machine', 'machines', ['ma']),
  flotilla('GitSync', 'gitsyncs', ['gs']),
  flotilla('Secret', 'secrets'),
  flotilla('Assignment', 'assignments', ['as']),
  flotilla('Component', 'components'),
  { kind: 'Event', plural: 'events', singular: 'event', shortNames: ['ev'], path: '/api/v1/events' },
];

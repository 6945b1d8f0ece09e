/** What the kinds of the facade have in common: they are Kubernetes' own, so their form is known to every client and is not ours to check. */
import type { Column, Kind } from '../../resources/kinds.js';

/** The one namespace there is, for clients that must have one. */
export const defaultNamespace = 'default';

type Given = Pick<Kind, 'kind' | 'plural' | 'singular' | 'shortNames' | 'namespaced' | 'description' | 'columns' | 'schema'> &
  Partial<Pick<Kind, 'selectableFields' | 'group' | 'version' | 'changeable' | 'listTypes'>>;

export const coreKind = (given: Given): Kind => ({
  group: '',
  version: 'v1',
  // Never in `all`: what they show is there already, as units and machines.
  categories: [],
  writable: false,
  listTypes: {},
  selectableFields: {},
  withDefaults: (object) => object,
  validate: () => [],
  ...given,
});

export const column = (name: string, description: string, cell: Column['cell'], priority: 0 | 1 = 0): Column => ({
  name,
  type: 'string',
  description,
  priority,
  cell,
});

/** As kubectl shows that there is none. */
export const none = '<none>';

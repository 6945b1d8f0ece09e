/** Objects as JSON text in the form that the client asked for: whole, as rows of a Table, or their metadata alone. */
import type { Clock } from '../../runtime/clock.js';
import type { ClusterCache, Joined } from '../objects/ports.js';
import type { Column, Kind } from '../resources/kinds.js';
import type { MachineStatus } from '../resources/machine.js';
import { apiVersionOf } from '../resources/registry.js';
import type { Representation } from './negotiation.js';

type TableForm = Extract<Representation, { form: 'table' }>;

export interface ListMeta {
  readonly resourceVersion: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

const metaApiVersion = (version: 'v1' | 'v1beta1'): string => `meta.k8s.io/${version}`;

const definition = (column: Column) => ({
  name: column.name,
  type: column.type,
  // kubectl takes the column of this format for the object's name.
  format: column.name.toLowerCase() === 'name' ? 'name' : '',
  description: column.description,
  priority: column.priority,
});

export const columnDefinitions = (kind: Kind): readonly object[] => kind.columns.map(definition);

/** A row's object is its metadata for `--show-labels` and the like; managedFields, most of its bytes, no table shows. */
function rowObject(object: Joined, form: TableForm): object | null {
  if (form.includeObject === 'None') return null;
  if (form.includeObject === 'Object') return object;
  const { managedFields: _, ...metadata } = object.metadata;
  return { kind: 'PartialObjectMetadata', apiVersion: metaApiVersion(form.version), metadata };
}

/** What a row is seen from: ages count until now, machines go by the names that they have now. */
export interface View {
  readonly now: Date;
  readonly machineName: (id: string) => string;
}

/** Hostnames are the agents' word; a machine that has never told one goes by the beginning of its id. */
export const viewOf = ({ cache, clock }: { readonly cache: Pick<ClusterCache, 'fragment'>; readonly clock: Clock }): View => ({
  now: clock.now(),
  machineName: (id) => (cache.fragment('machines', id)?.value as MachineStatus | undefined)?.info?.hostname || id.slice(0, 8),
});

/** One object that is not as its schema says must not take the list of all others with it (invariant 7). */
function cell(column: Column, object: Joined, { now, machineName }: View): string | number | null {
  try {
    return column.cell(object, now, machineName);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) return '<invalid>';
    throw error;
  }
}

const row = (kind: Kind, object: Joined, form: TableForm, view: View): string =>
  JSON.stringify({ cells: kind.columns.map((column) => cell(column, object, view)), object: rowObject(object, form) });

const partial = (object: Joined, version: 'v1' | 'v1beta1'): string =>
  JSON.stringify({ kind: 'PartialObjectMetadata', apiVersion: metaApiVersion(version), metadata: object.metadata });

/** `{"kind":…,…,"<items>":[` of an envelope, so that items can follow one by one. */
const opened = (envelope: object, items: string): string => `${JSON.stringify(envelope).slice(0, -1)},"${items}":[`;

/** One object, as the answer to a GET or a write. */
export function renderObject(kind: Kind, object: Joined, as: Representation, view: View): string {
  if (as.form === 'object') return JSON.stringify(object);
  if (as.form === 'metadata') return partial(object, as.version);
  const envelope = {
    kind: 'Table',
    apiVersion: metaApiVersion(as.version),
    metadata: { resourceVersion: object.metadata.resourceVersion },
    columnDefinitions: columnDefinitions(kind),
  };
  return `${opened(envelope, 'rows')}${row(kind, object, as, view)}]}`;
}

/** About this many characters are gathered before a piece of a list is handed on: few writes, and no list whole in memory twice. */
const pieceLength = 128 * 1024;

/** A list, piece by piece: the objects are a snapshot, so that the pieces may be written at the reader's pace. */
export function* renderList(kind: Kind, objects: readonly Joined[], metadata: ListMeta, as: Representation, view: View): Generator<string> {
  let piece: string;
  let item: (object: Joined) => string;
  switch (as.form) {
    case 'object':
      piece = opened({ kind: `${kind.kind}List`, apiVersion: apiVersionOf(kind), metadata }, 'items');
      item = (object) => JSON.stringify(object);
      break;
    case 'metadata':
      piece = opened({ kind: 'PartialObjectMetadataList', apiVersion: metaApiVersion(as.version), metadata }, 'items');
      item = (object) => partial(object, as.version);
      break;
    case 'table': {
      const table = { kind: 'Table', apiVersion: metaApiVersion(as.version), metadata, columnDefinitions: columnDefinitions(kind) };
      piece = opened(table, 'rows');
      item = (object) => row(kind, object, as, view);
    }
  }
  let first = true;
  for (const object of objects) {
    piece += first ? item(object) : `,${item(object)}`;
    first = false;
    if (piece.length >= pieceLength) {
      yield piece;
      piece = '';
    }
  }
  yield `${piece}]}`;
}

/**
 * The object of a watch event. In a Table only the first event of a watch carries the columns, as kubectl expects; a bookmark or a
 * deletion looks like any other event.
 */
export function renderEventObject(kind: Kind, object: Joined, as: Representation, view: View, withColumns: boolean): string {
  if (as.form !== 'table' || withColumns) return renderObject(kind, object, as, view);
  const envelope = {
    kind: 'Table',
    apiVersion: metaApiVersion(as.version),
    metadata: { resourceVersion: object.metadata.resourceVersion },
    columnDefinitions: null,
  };
  return `${opened(envelope, 'rows')}${row(kind, object, as, view)}]}`;
}

/** The object of a BOOKMARK: nothing but a resourceVersion, and the mark that ends the initial events. */
export function renderBookmark(kind: Kind, resourceVersion: string, as: Representation, endsInitialEvents: boolean): string {
  const metadata = {
    resourceVersion,
    creationTimestamp: null,
    ...(endsInitialEvents && { annotations: { 'k8s.io/initial-events-end': 'true' } }),
  };
  const bare = { kind: kind.kind, apiVersion: apiVersionOf(kind), metadata };
  if (as.form === 'object') return JSON.stringify(bare);
  if (as.form === 'metadata') return JSON.stringify({ kind: 'PartialObjectMetadata', apiVersion: metaApiVersion(as.version), metadata });
  return JSON.stringify({
    kind: 'Table',
    apiVersion: metaApiVersion(as.version),
    metadata: { resourceVersion },
    columnDefinitions: null,
    rows: [
      {
        cells: [],
        object: as.includeObject === 'Object' ? bare : { kind: 'PartialObjectMetadata', apiVersion: metaApiVersion(as.version), metadata },
      },
    ],
  });
}

/** A name that identifies the form, for sharing what was rendered once. */
export const formKey = (as: Representation): string =>
  as.form === 'object' ? 'object' : as.form === 'metadata' ? `metadata/${as.version}` : `table/${as.version}/${as.includeObject}`;

/** The kinds, one entry each: everything that differs between kinds is asked here, so no other code branches on a kind's name. */
import type { z } from 'zod';
import type { FieldError } from './errors.js';
import type { FlotillaObject } from './meta.js';

/** A column of `get`, in Kubernetes' Table terms. Priority 1 is shown with `-o wide` only. */
export interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly description: string;
  readonly priority: 0 | 1;
  /** The cell as shown; `now` is for ages, `machineName` tells what people call the machine with this id. */
  readonly cell: (object: FlotillaObject, now: Date, machineName: (id: string) => string) => string | number | null;
}

export interface Kind {
  /** API group and version of its `apiVersion`; the core group is ''. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  /**
   * Of the core group's kinds, which clients look for below namespaces: true: the objects say that they are in one; false: never there;
   * absent: in any, and it counts for nothing. All other kinds are cluster-scoped.
   */
  readonly namespaced?: boolean;
  readonly description: string;
  /** The whole object, strict, status included (for OpenAPI); transform-free. */
  readonly schema: z.ZodObject;
  /** Clients may create, change and delete it; otherwise it is written by the system and read-only to them. */
  readonly writable: boolean;
  /** It is there or not as the system says, but clients may change it. */
  readonly changeable?: boolean;
  /** Paths that server-side apply treats as one value or as keyed lists, as Kubernetes' x-kubernetes-list-type says. */
  readonly listTypes: Readonly<Record<string, { readonly type: 'atomic' | 'set' | 'map'; readonly keys?: readonly string[] }>>;
  readonly columns: readonly Column[];
  /** Field selectors beyond metadata.name: path → value of the object. */
  readonly selectableFields: Readonly<Record<string, (object: FlotillaObject) => string>>;
  /** Fills in what the user left out. Returns a new object; called after the schema check and before validate. */
  readonly withDefaults: (object: FlotillaObject) => FlotillaObject;
  /** What the schema cannot say: names, contradictions, unit files with garbage. `previous` on updates, for what may not change. */
  readonly validate: (object: FlotillaObject, previous?: FlotillaObject) => FieldError[];
  /** Of a kind that has a number of replicas: what `/scale` shows of an object. The number itself is `spec.replicas`. */
  readonly scale?: (object: FlotillaObject) => { readonly wanted: number; readonly existing: number; readonly selector: string };
  /** What is accepted but probably not meant, in sentences: sent as Warning headers with the answer. Called after validate. */
  readonly warnings?: (object: FlotillaObject) => string[];
}

/**
 * The only place that spells an etcd key. Names of systemd units hold no slash, so one slash separates each part (DESIGN section 4).
 * The root can be moved, so that several clusters share one etcd in tests.
 */
export interface Keys {
  readonly root: string;
  object(plural: string, name: string): string;
  presence(machine: string): string;
  assignment(machine: string, unit: string): string;
  assignments(machine: string): string;
  content(sha256: string): string;
  state(machine: string, unit: string): string;
  states(machine: string): string;
  condition(plural: string, name: string): string;
  event(plural: string, object: string, id: string): string;
  token(sha256: string): string;
  /** Leased: a server that runs now, and where it is reached. */
  server(id: string): string;
  readonly servers: string;
  readonly meta: string;
  readonly ca: string;
  readonly leader: string;
}

export const keysUnder = (root = '/flotilla/'): Keys => ({
  root,
  object: (plural, name) => `${root}${plural}/${name}`,
  presence: (machine) => `${root}presence/${machine}`,
  assignment: (machine, unit) => `${root}assignments/${machine}/${unit}`,
  assignments: (machine) => `${root}assignments/${machine}/`,
  content: (sha256) => `${root}contents/${sha256}`,
  state: (machine, unit) => `${root}states/${machine}/${unit}`,
  states: (machine) => `${root}states/${machine}/`,
  condition: (plural, name) => `${root}conditions/${plural}/${name}`,
  event: (plural, object, id) => `${root}events/${plural}/${object}/${id}`,
  token: (sha256) => `${root}tokens/${sha256}`,
  server: (id) => `${root}servers/${id}`,
  servers: `${root}servers/`,
  meta: `${root}meta`,
  ca: `${root}ca`,
  leader: `${root}leader/controllers`,
});

/** What a key is about, for whoever reads the one watch over the root. */
export type ParsedKey =
  | { readonly table: 'object'; readonly plural: string; readonly name: string }
  | { readonly table: 'presence'; readonly machine: string }
  | { readonly table: 'assignment' | 'state'; readonly machine: string; readonly unit: string }
  | { readonly table: 'content'; readonly sha256: string }
  | { readonly table: 'condition'; readonly plural: string; readonly name: string }
  | { readonly table: 'event'; readonly plural: string; readonly object: string; readonly id: string }
  | { readonly table: 'other' };

/** Plurals of the kinds that are stored as objects under a key of their own. */
export const storedPlurals = ['units', 'machines', 'unitsets', 'gitsyncs', 'configs', 'secrets'] as const;

export function parseKey(root: string, key: string): ParsedKey {
  if (!key.startsWith(root)) return { table: 'other' };
  const [first, second, third, fourth] = key.slice(root.length).split('/');
  if (first === undefined || second === undefined) return { table: 'other' };
  if ((storedPlurals as readonly string[]).includes(first)) return { table: 'object', plural: first, name: second };
  switch (first) {
    case 'presence':
      return { table: 'presence', machine: second };
    case 'assignments':
      return third === undefined ? { table: 'other' } : { table: 'assignment', machine: second, unit: third };
    case 'states':
      return third === undefined ? { table: 'other' } : { table: 'state', machine: second, unit: third };
    case 'contents':
      return { table: 'content', sha256: second };
    case 'conditions':
      return third === undefined ? { table: 'other' } : { table: 'condition', plural: second, name: third };
    case 'events':
      return third === undefined || fourth === undefined
        ? { table: 'other' }
        : { table: 'event', plural: second, object: third, id: fourth };
    default:
      return { table: 'other' };
  }
}

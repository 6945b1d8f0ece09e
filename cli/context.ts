/** What every client verb gets: the connection, and which kind a word means. */
import { nearest } from '../api/resources/suggest.js';
import { Client } from './client.js';
import { usageError } from './exit.js';
import type { KindInfo, Reader, ServedKind } from './kinds.js';
import { knownKinds } from './known-kinds.js';
import type { SshFlags } from './ssh/arguments.js';
import type { Tunnel } from './ssh/tunnel.js';
import { withType } from './unit-word.js';

export interface GlobalOptions extends SshFlags {
  readonly endpoint: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Seconds. */
  readonly requestTimeout: number;
  readonly debug?: boolean;
  /** Host, and port, through which the endpoint is reached by ssh. */
  readonly tunnel?: string;
}

export interface Target {
  readonly kind: KindInfo;
  /** Empty: all of them. */
  readonly names: readonly string[];
}

interface ResourceList {
  readonly resources: readonly {
    readonly name: string;
    readonly singularName: string;
    readonly kind: string;
    readonly verbs: readonly string[];
    readonly shortNames?: readonly string[];
    readonly categories?: readonly string[];
  }[];
}

export class Context implements Reader {
  readonly client: Client;
  #kinds: Promise<readonly ServedKind[]> | undefined;

  constructor(
    readonly options: GlobalOptions,
    private readonly tunnel?: Tunnel,
  ) {
    this.client = new Client({ ...options, ...(tunnel && { via: tunnel }), requestTimeoutMs: options.requestTimeout * 1_000 });
  }

  /** With a tunnel when one is asked for: loaded only then. */
  static async open(options: GlobalOptions): Promise<Context> {
    if (options.tunnel === undefined) return new Context(options);
    const { openTunnel } = await import('./ssh/tunnel.js');
    return new Context(options, await openTunnel(options, options.tunnel));
  }

  async close(): Promise<void> {
    await this.client.close();
    this.tunnel?.close();
  }

  /** The kinds that this server serves, asked once: a client need not know them all. */
  kinds(): Promise<readonly ServedKind[]> {
    this.#kinds ??= Promise.all(['/apis/flotilla.dev/v1', '/api/v1'].map((base) => this.#kindsAt(base))).then((lists) => lists.flat());
    return this.#kinds;
  }

  async #kindsAt(base: string): Promise<ServedKind[]> {
    const { resources } = await this.client.json<ResourceList>(base);
    return resources
      .filter(({ name }) => !name.includes('/'))
      .map(({ name, singularName, kind, verbs, shortNames = [], categories = [] }) => ({
        kind,
        plural: name,
        singular: singularName || kind.toLowerCase(),
        shortNames,
        categories,
        verbs,
        path: `${base}/${name}`,
      }));
  }

  /** `unit`, `units`, `un`, `Unit`: the kind, or a usage error with a suggestion. The server is asked about words that are not well known. */
  async kind(word: string): Promise<KindInfo> {
    const lower = word.toLowerCase().replace(/\.flotilla\.dev$/, '');
    const isMeant = (kind: KindInfo) => namesOf(kind).includes(lower);
    const found = knownKinds.find(isMeant) ?? (await this.kinds()).find(isMeant);
    if (found) return found;
    const words = (await this.kinds()).flatMap((kind) => [kind.plural, kind.singular]);
    const near = nearest(lower, words);
    throw usageError(
      `the server has no kind "${word}"${near ? `; did you mean "${near}"?` : ` (${words.filter((_, at) => at % 2 === 0).join(', ')})`}`,
    );
  }

  /** `KIND NAME...`, `KIND/NAME...` or `KIND,KIND`: what the words after a verb mean. A machine may be named by hostname, or shortly, a service without its type. */
  async targets(words: readonly string[]): Promise<Target[]> {
    const [first, ...rest] = words;
    if (first === undefined) throw usageError('which kind? For example: units, machines, events');
    if (first.includes('/')) {
      const targets = new Map<string, { kind: KindInfo; names: string[] }>();
      for (const word of words) {
        const slash = word.indexOf('/');
        if (slash < 0) throw usageError(`"${word}": expected KIND/NAME, as in unit/web.service`);
        const kind = await this.kind(word.slice(0, slash));
        const target = targets.get(kind.path) ?? { kind, names: [] };
        target.names.push(await this.#fullName(kind, word.slice(slash + 1)));
        targets.set(kind.path, target);
      }
      return [...targets.values()];
    }
    const kinds = (await Promise.all(first.split(',').map((word) => this.#kindsOf(word)))).flat();
    const [kind, ...more] = kinds;
    if (kind && more.length === 0) return [{ kind, names: await Promise.all(rest.map((name) => this.#fullName(kind, name))) }];
    if (rest.length > 0) throw usageError('names can be given for one kind at a time');
    return kinds.map((one) => ({ kind: one, names: [] }));
  }

  async #kindsOf(word: string): Promise<readonly KindInfo[]> {
    if (knownKinds.some((kind) => namesOf(kind).includes(word.toLowerCase()))) return [await this.kind(word)];
    const inCategory = (await this.kinds()).filter((kind) => kind.categories.includes(word));
    return inCategory.length > 0 ? inCategory : [await this.kind(word)];
  }

  async #fullName(kind: KindInfo, name: string): Promise<string> {
    if (name === '') throw usageError(`which ${kind.singular}?`);
    if (kind.plural === 'units') return withType(name);
    if (kind.plural !== 'machines' || machineId.test(name)) return name;
    const { resolveMachine } = await import('./machines.js');
    return (await resolveMachine(this, name)).metadata.name;
  }
}

const machineId = /^[0-9a-f]{32}$/;

const namesOf = (kind: KindInfo) => [kind.plural, kind.singular, kind.kind.toLowerCase(), ...kind.shortNames];

export const objectPath = (kind: KindInfo, name: string) => `${kind.path}/${encodeURIComponent(name)}`;

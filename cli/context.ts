/** What every client verb gets: the connection, and which kind a word means. */
import { nearest } from '../api/resources/suggest.js';
import { Client } from './client.js';
import { usageError } from './exit.js';

export interface GlobalOptions {
  readonly endpoint: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Seconds. */
  readonly requestTimeout: number;
}

export interface KindInfo {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly string[];
  /** Collection path. */
  readonly path: string;
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

export class Context {
  readonly client: Client;
  #kinds: Promise<readonly KindInfo[]> | undefined;

  constructor(readonly options: GlobalOptions) {
    this.client = new Client({ ...options, requestTimeoutMs: options.requestTimeout * 1_000 });
  }

  /** The kinds that this server serves, asked once: a client need not know them all. */
  kinds(): Promise<readonly KindInfo[]> {
    this.#kinds ??= Promise.all(['/apis/flotilla.dev/v1', '/api/v1'].map((base) => this.#kindsAt(base))).then((lists) => lists.flat());
    return this.#kinds;
  }

  async #kindsAt(base: string): Promise<KindInfo[]> {
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

  /** `unit`, `units`, `un`, `Unit`: the kind, or a usage error with a suggestion. */
  async kind(word: string): Promise<KindInfo> {
    const kinds = await this.kinds();
    const lower = word.toLowerCase().replace(/\.flotilla\.dev$/, '');
    const found = kinds.find((kind) => namesOf(kind).includes(lower));
    if (found) return found;
    const near = nearest(
      lower,
      kinds.flatMap((kind) => [kind.plural, kind.singular]),
    );
    throw usageError(`the server has no kind "${word}"${near ? `; did you mean "${near}"?` : ''}`);
  }

  /** `KIND NAME...`, `KIND/NAME...` or `KIND,KIND`: what the words after a verb mean. */
  async targets(words: readonly string[]): Promise<{ kind: KindInfo; names: string[] }[]> {
    const [first, ...rest] = words;
    if (first === undefined) throw usageError('which kind? For example: units, machines, events');
    if (first.includes('/')) {
      const targets = new Map<string, { kind: KindInfo; names: string[] }>();
      for (const word of words) {
        const slash = word.indexOf('/');
        if (slash < 0) throw usageError(`"${word}": expected KIND/NAME, as in unit/web.service`);
        const kind = await this.kind(word.slice(0, slash));
        const target = targets.get(kind.path) ?? { kind, names: [] };
        target.names.push(word.slice(slash + 1));
        targets.set(kind.path, target);
      }
      return [...targets.values()];
    }
    const kinds = (await Promise.all(first.split(',').map((word) => this.#kindsOf(word)))).flat();
    if (kinds.length > 1 && rest.length > 0) throw usageError('names can be given for one kind at a time');
    return kinds.map((kind) => ({ kind, names: rest }));
  }

  async #kindsOf(word: string): Promise<KindInfo[]> {
    const inCategory = (await this.kinds()).filter((kind) => kind.categories.includes(word));
    return inCategory.length > 0 ? inCategory : [await this.kind(word)];
  }
}

const namesOf = (kind: KindInfo) => [kind.plural, kind.singular, kind.kind.toLowerCase(), ...kind.shortNames];

export const objectPath = (kind: KindInfo, name: string) => `${kind.path}/${encodeURIComponent(name)}`;

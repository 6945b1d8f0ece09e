/**
 * The one list of everything this server answers. A route exists by being registered here and in no other way, and names who it is for
 * and what it means to the authorizer: a test walks the list and tries each entry as everybody who must not use it.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { RequestAttributes } from './identity.js';

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/**
 * Who a route is for at all, checked before the authorizer is asked:
 * public – everybody, without authentication (health, version, joining with a token);
 * any-authenticated – whoever the connection names, then the authorizer decides by attributes;
 * admin, machine – that kind of identity only, then the authorizer decides too.
 */
export type Audience = 'public' | 'any-authenticated' | 'admin' | 'machine';

/** What a URL says: path parameters and query. */
export interface RequestPoint {
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
}

export interface Route {
  readonly method: Method;
  /** As fastify spells it: `/apis/flotilla.dev/v1/units/:name`. */
  readonly path: string;
  readonly audience: Audience;
  /** It is there to say why it is never done, whoever asks. */
  readonly isRefusal?: boolean;
  /** Pure. What the request asks for, for the authorizer, the metrics and the log. */
  readonly attributes: (at: RequestPoint) => RequestAttributes;
  /** Returns (or sends) the answer; throws StatusError. `request.identity` is who asks. */
  readonly handler: (request: FastifyRequest, reply: FastifyReply) => unknown;
}

/** The attributes of a route that is no resource. */
export const plainAttributes = (method: Method, path: string) => (): RequestAttributes => ({ method: method.toLowerCase(), path });

const parameter = /:[A-Za-z]+/g;
const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** `/units/:name` as a regular expression over whole paths. */
function pathPattern(path: string): RegExp {
  const fixed = path.split(parameter).map(escaped);
  return new RegExp(`^${fixed.join('[^/]+')}$`);
}

export class RouteRegistry implements Iterable<Route> {
  readonly #routes: Route[] = [];
  readonly #keys = new Set<string>();
  readonly #patterns = new Map<string, { pattern: RegExp; methods: Method[] }>();

  /** Throws when method and path are taken. */
  add(...routes: readonly Route[]): void {
    for (const route of routes) {
      const key = `${route.method} ${route.path}`;
      if (this.#keys.has(key)) throw new Error(`the route ${key} is registered twice`);
      this.#keys.add(key);
      this.#routes.push(route);
      const known = this.#patterns.get(route.path) ?? { pattern: pathPattern(route.path), methods: [] };
      known.methods.push(route.method);
      this.#patterns.set(route.path, known);
    }
  }

  /** The methods that some route answers at this path: empty when the path itself is unknown. */
  methodsAt(pathname: string): readonly Method[] {
    const methods = new Set<Method>();
    for (const known of this.#patterns.values()) {
      if (known.pattern.test(pathname)) for (const method of known.methods) methods.add(method);
    }
    return [...methods].sort();
  }

  [Symbol.iterator](): Iterator<Route> {
    return this.#routes[Symbol.iterator]();
  }
}

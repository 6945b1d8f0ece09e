/** Which server to talk to next: all of them in turn without waiting, and only after a whole round without success a pause. */
import { type Backoff, backoffMs } from '../runtime/backoff.js';
import type { Random } from '../runtime/clock.js';

const defaultBackoff: Backoff = { baseMs: 500, capMs: 10_000 };

export class ServerList {
  readonly #configured: readonly string[];
  readonly #random: Random;
  readonly #backoff: Backoff;
  #urls: string[];
  #next: number;
  #failures = 0;

  constructor(configured: readonly string[], random: Random, backoff = defaultBackoff) {
    if (configured.length === 0) throw new Error('no server is configured');
    this.#configured = [...new Set(configured.map(withoutSlash))];
    this.#random = random;
    this.#backoff = backoff;
    this.#urls = [...this.#configured];
    // Agents that start together do not all choose the same server.
    this.#next = Math.floor(random() * this.#urls.length);
  }

  get current(): string {
    return this.#urls[this.#next % this.#urls.length]!;
  }

  get all(): readonly string[] {
    return this.#urls;
  }

  /** Rounds through the whole list that have failed since the last success: patience may grow with them. */
  get failedRounds(): number {
    return Math.floor(this.#failures / this.#urls.length);
  }

  /** What a server says of its like; those of the command line stay. */
  learn(servers: readonly string[]): void {
    const current = this.current;
    this.#urls = [...new Set([...this.#configured, ...servers.map(withoutSlash)])];
    this.#next = Math.max(0, this.#urls.indexOf(current));
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /** Goes on to the next server; milliseconds to wait before trying it. */
  failed(): number {
    this.#failures += 1;
    this.#next = (this.#next + 1) % this.#urls.length;
    return this.#failures % this.#urls.length === 0 ? backoffMs(this.#backoff, this.failedRounds, this.#random) : 0;
  }
}

const withoutSlash = (url: string): string => url.replace(/\/+$/, '');

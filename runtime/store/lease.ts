/** The holder's side of a lease, the same for every store: the deadline is ours, measured by our own monotonic clock. */
import type { Clock } from '../clock.js';
import type { Lease } from './store.js';

/** What a store must be able to send for a lease. */
export interface LeaseWire {
  /** One keepalive; resolves to the TTL that the lease has from now on, 0 when it is gone. Rejects when the outcome is unknown. */
  keepAlive(id: string): Promise<number>;
  revoke(id: string): Promise<void>;
}

/** Part of the TTL that we give away so that we stop before etcd starts to hand out what the lease held. */
export const leaseMarginMs = (ttlMs: number): number => Math.min(2000, ttlMs * 0.2);

export interface HeldLeaseOptions {
  readonly wire: LeaseWire;
  readonly clock: Clock;
  readonly id: string;
  readonly ttlMs: number;
  /** When the request that was answered with this TTL was sent: the lease cannot have started before. */
  readonly sentAtMs: number;
  readonly keepAlive: 'auto' | 'manual';
  /** Called once, when the lease is over for its holder. */
  readonly ended?: (lease: HeldLease) => void;
}

export class HeldLease implements Lease {
  readonly id: string;
  readonly lost: Promise<string>;
  readonly #options: HeldLeaseOptions;
  readonly #cancels = new Map<'deadline' | 'beat', () => void>();
  #resolveLost: (why: string) => void = () => {};
  #over = false;
  #ttlMs: number;
  #deadlineMs: number;
  #lastError = '';

  constructor(options: HeldLeaseOptions) {
    this.id = options.id;
    this.#options = options;
    this.#ttlMs = options.ttlMs;
    this.#deadlineMs = options.sentAtMs + options.ttlMs - leaseMarginMs(options.ttlMs);
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve;
    });
    this.#watchDeadline();
    if (options.keepAlive === 'auto') this.#beatLater(options.ttlMs / 3);
  }

  get ttlMs(): number {
    return this.#ttlMs;
  }

  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  async keepAlive(): Promise<boolean> {
    if (this.#over) return false;
    const sentAtMs = this.#options.clock.monotonicMs();
    const ttlMs = await this.#options.wire.keepAlive(this.id);
    if (ttlMs === 0) this.end('etcd says that the lease is gone');
    // Once our own clock has declared it lost, a late answer does not bring it back: the holder has already let go.
    if (this.#over) return false;
    this.#ttlMs = ttlMs;
    this.#lastError = '';
    const deadlineMs = sentAtMs + ttlMs - leaseMarginMs(ttlMs);
    if (deadlineMs > this.#deadlineMs) {
      this.#deadlineMs = deadlineMs;
      this.#watchDeadline();
    }
    return true;
  }

  async revoke(): Promise<void> {
    this.end('revoked by its holder');
    await this.#options.wire.revoke(this.id);
  }

  /** Lets go of the lease on this side only: timers stop and `lost` resolves. */
  end(why: string): void {
    if (this.#over) return;
    this.#over = true;
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
    this.#resolveLost(why);
    this.#options.ended?.(this);
  }

  #later(what: 'deadline' | 'beat', delayMs: number, run: () => void): void {
    this.#cancels.get(what)?.();
    this.#cancels.set(what, this.#options.clock.after(Math.max(0, delayMs), run));
  }

  #watchDeadline(): void {
    const { clock } = this.#options;
    this.#later('deadline', this.#deadlineMs - clock.monotonicMs(), () => {
      // Timers may fire a little early; the clock decides.
      if (clock.monotonicMs() < this.#deadlineMs) return this.#watchDeadline();
      this.end(`not renewed in time by our own clock${this.#lastError && `: ${this.#lastError}`}`);
    });
  }

  #beatLater(delayMs: number): void {
    this.#later('beat', delayMs, () => {
      this.keepAlive().then(
        (alive) => alive && this.#beatLater(this.#ttlMs / 3),
        (error: unknown) => {
          this.#lastError = error instanceof Error ? error.message : String(error);
          if (!this.#over) this.#beatLater(this.#ttlMs / 20);
        },
      );
    });
  }
}

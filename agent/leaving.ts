/** Units that leave go first, so that a port or a path is free for those that come; a stuck one is waited for no longer than a moment. */
import type { Clock } from '../runtime/clock.js';

const graceMs = 1_000;

export class Leaving {
  /** Units whose processes are leaving, and how to say that nobody needs to wait for them any more. */
  readonly #units = new Map<string, { readonly gone: Promise<void>; readonly end: () => void }>();

  constructor(private readonly clock: Pick<Clock, 'after'>) {}

  begin(name: string): void {
    if (this.#units.has(name)) return;
    let end: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => {
      const cancel = this.clock.after(graceMs, resolve);
      end = () => {
        cancel();
        resolve();
      };
    });
    this.#units.set(name, { gone, end });
    void gone.then(() => this.#units.delete(name));
  }

  /** Its process is gone. */
  end(name: string): void {
    this.#units.get(name)?.end();
  }

  endAll(): void {
    for (const { end } of this.#units.values()) end();
  }

  /** Resolves when all that leave now are gone, or have had their moment. */
  async untilGone(): Promise<void> {
    await Promise.all([...this.#units.values()].map(({ gone }) => gone));
  }
}

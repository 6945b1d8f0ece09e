/** How often one object's status is written: counts and sums of reasons change with everything around, and can wait a moment. */

export class Pace {
  readonly #writtenAtMs = new Map<string, number>();

  wrote(plural: string, name: string, nowMs: number): void {
    this.#writtenAtMs.set(`${plural}/${name}`, nowMs);
  }

  forget(plural: string, name: string): void {
    this.#writtenAtMs.delete(`${plural}/${name}`);
  }

  /** When it may be written again, if it is to be written no more often than that; long ago when it never was. */
  dueMs(plural: string, name: string, everyMs: number): number {
    return (this.#writtenAtMs.get(`${plural}/${name}`) ?? Number.NEGATIVE_INFINITY) + everyMs;
  }
}

/** Many single questions in one turn of the event loop, asked as one. */

const maxBatch = 1_000;

/**
 * `load` is given the names asked for since the last turn. When a batch fails each name is asked for alone, so that one that cannot be
 * answered spoils only its own answer (invariant 7); a name that `load` leaves out is an error of its own.
 */
export function batched<Value>(load: (names: readonly string[]) => Promise<ReadonlyMap<string, Value>>): (name: string) => Promise<Value> {
  interface Asker {
    resolve(value: Value): void;
    reject(error: unknown): void;
  }
  let waiting = new Map<string, Asker[]>();

  const answer = (askers: readonly Asker[], name: string, values: ReadonlyMap<string, Value>) => {
    const value = values.get(name);
    for (const asker of askers) value === undefined ? asker.reject(new Error(`no answer about ${name}`)) : asker.resolve(value);
  };
  const askAlone = async (name: string, askers: readonly Asker[]) => {
    try {
      answer(askers, name, await load([name]));
    } catch (error) {
      for (const asker of askers) asker.reject(error);
    }
  };
  const ask = async (batch: ReadonlyMap<string, Asker[]>) => {
    try {
      const values = await load([...batch.keys()]);
      for (const [name, askers] of batch) answer(askers, name, values);
    } catch (error) {
      if (batch.size > 1) await Promise.all([...batch].map(([name, askers]) => askAlone(name, askers)));
      else for (const asker of [...batch.values()].flat()) asker.reject(error);
    }
  };

  return (name) =>
    new Promise((resolve, reject) => {
      if (waiting.size === 0) {
        setImmediate(() => {
          const batch = waiting;
          waiting = new Map();
          void ask(batch);
        });
      }
      const askers = waiting.get(name);
      if (askers) askers.push({ resolve, reject });
      else if (waiting.size < maxBatch) waiting.set(name, [{ resolve, reject }]);
      else void askAlone(name, [{ resolve, reject }]);
    });
}

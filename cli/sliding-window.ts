/**
 * Runs `work` on the items, at most `width` at a time, the next as soon as any one is finished, and tells `done` each outcome in the items'
 * order as soon as all before it are known. After a failure of `work` nothing new is begun, and what is under way is waited for.
 */
export async function slidingWindow<Item, Outcome>(
  items: readonly Item[],
  width: number,
  work: (item: Item) => Promise<Outcome>,
  done: (item: Item, outcome: Outcome) => void,
): Promise<void> {
  const finished = new Map<number, Outcome>();
  let next = 0;
  let told = 0;
  let failed = false;
  const lane = async (): Promise<void> => {
    while (next < items.length && !failed) {
      const index = next++;
      try {
        finished.set(index, await work(items[index]!));
        for (; finished.has(told); told++) {
          done(items[told]!, finished.get(told)!);
          finished.delete(told);
        }
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(width, items.length) }, lane));
  for (const outcome of lanes) if (outcome.status === 'rejected') throw outcome.reason;
}

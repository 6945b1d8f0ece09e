import { systemClock } from '../../runtime/clock.js';
import { createMetrics } from '../../runtime/metrics.js';
import { measuredStore } from '../../runtime/store/measured-store.js';
import { MemoryStore } from '../../runtime/store/memory-store.js';
import { storeContract } from './store.contract.js';

storeContract('in memory, measured', async () => {
  const store = new MemoryStore();
  const metrics = createMetrics({ component: 'test', version: '0', process: false });
  return {
    store: measuredStore(store, metrics, systemClock),
    another: async () => measuredStore(store.peer(), metrics, systemClock),
    compact: async (revision) => store.compact(revision),
    close: () => store.close(),
  };
});

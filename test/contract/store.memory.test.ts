import { MemoryStore } from '../../runtime/store/memory-store.js';
import { storeContract } from './store.contract.js';

storeContract('in memory', async () => {
  const store = new MemoryStore();
  return {
    store,
    another: async () => store.peer(),
    compact: async (revision) => store.compact(revision),
    close: () => store.close(),
  };
});

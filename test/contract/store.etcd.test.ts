import { openEtcdStore } from '../../runtime/store/etcd-store.js';
import { startEtcd } from '../rigs/etcd.js';
import { storeContract } from './store.contract.js';

storeContract('etcd', async () => {
  const etcd = await startEtcd();
  const { endpoints } = etcd;
  const store = openEtcdStore({ endpoints });
  return {
    store,
    another: async () => openEtcdStore({ endpoints }),
    compact: (revision) => etcd.compact(revision),
    close: async () => {
      await store.close();
      await etcd.stop();
    },
  };
});

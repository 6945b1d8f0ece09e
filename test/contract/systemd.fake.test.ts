import { FakeSystemd } from '../rigs/fake-systemd.js';
import { MemoryUnitFiles } from '../rigs/memory-files.js';
import { systemdContract } from './systemd.contract.js';

const sleeper = '[Service]\nExecStart=/bin/sleep infinity\n';

systemdContract('fake', async () => {
  const files = new MemoryUnitFiles();
  const systemd = new FakeSystemd({ files, vendor: { 'own.service': sleeper, 'own@.service': sleeper } });
  return {
    systemd,
    files,
    byHand: (verb, name) => systemd.byHand(verb, name),
    vendor: { running: 'own.service', idle: 'own@9.service' },
    close: async () => systemd.close(),
  };
});

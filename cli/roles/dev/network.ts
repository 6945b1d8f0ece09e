/** A bridge with a private /24 for the machines of one dev cluster: free names and subnets are looked for, nothing leaves the host. */
import { randomBytes, randomInt } from 'node:crypto';
import { must, run } from './run.js';

export interface MachineNetwork {
  readonly bridge: string;
  /** The host's address on the bridge, where the server listens. */
  readonly hostAddress: string;
  /** Address of machine `index` (from 1). */
  addressOf(index: number): string;
  close(): Promise<void>;
}

interface LinkAddress {
  readonly addr_info?: readonly { readonly local?: string }[];
}
interface Route {
  readonly dst?: string;
}

/** `id` is the cluster's short name, unique on this host; interface names hold 15 characters at most. */
export async function openMachineNetwork(id: string): Promise<MachineNetwork> {
  const bridge = `flo-${id}`;
  const addresses = JSON.parse(await must('ip', ['-j', '-4', 'addr'])) as LinkAddress[];
  const routes = JSON.parse(await must('ip', ['-j', '-4', 'route', 'show', 'table', 'all'])) as Route[];
  const taken = [
    ...addresses.flatMap((link) => (link.addr_info ?? []).map((info) => info.local ?? '')),
    ...routes.map((route) => route.dst ?? ''),
  ];

  for (let attempt = 0; attempt < 50; attempt++) {
    const subnet = `10.${randomInt(64, 128)}.${randomInt(0, 256)}`;
    // A whole /16 of somebody else's is left alone: their routes may be wider than the addresses that we see.
    const wider = subnet.slice(0, subnet.lastIndexOf('.') + 1);
    if (taken.some((address) => address.startsWith(wider))) continue;
    // An address of its own: a bridge without one takes the lowest of its ports', so it changes when that machine is killed, and the others
    // go on sending to an address that nobody has, until their neighbour tables forget it.
    const address = ['02', ...randomBytes(5).toString('hex').match(/../g)!].join(':');
    await must('ip', ['link', 'add', bridge, 'address', address, 'type', 'bridge']);
    await must('ip', ['addr', 'add', `${subnet}.1/24`, 'dev', bridge]);
    await must('ip', ['link', 'set', bridge, 'up']);
    return {
      bridge,
      hostAddress: `${subnet}.1`,
      addressOf: (index) => `${subnet}.${10 + index}`,
      close: async () => {
        await run('ip', ['link', 'del', bridge]);
      },
    };
  }
  throw new Error('no free subnet was found for the machines (looked at 50 in 10.64.0.0/10)');
}

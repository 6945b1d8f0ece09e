/** How fleet writes a machine: the first 8 characters of its id, and its address where it is known. */
import type { WireMachine } from './objects.js';

export const shortMachine = (id: string, isFull = false): string => (isFull ? id : `${id.slice(0, 8)}...`);

export function fleetMachine(machine: WireMachine | undefined, id: string, isFull = false): string {
  const address = machine?.status?.info?.address;
  return shortMachine(id, isFull) + (address ? `/${address}` : '');
}

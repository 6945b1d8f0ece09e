/**
 * Units that systemd makes up without a file as soon as somebody names them: a slice that a service runs in, a device that a mount needs.
 * That it knows such a name is no sign that the machine has a unit of it.
 */
import { isDown, type SeenUnit } from './systemd.js';

/** Trees that systemd keeps its own services, sessions and machines in: systemd.special(7). */
const ownSlices = /^(-|system|user|machine)(-.*)?\.slice$/;

/** Whether a unit that systemd has from no file may be given one. A device that is plugged in is the machine's. */
export const isImplicit = (name: string, seen: SeenUnit): boolean =>
  name.endsWith('.slice') ? !ownSlices.test(name) : name.endsWith('.device') && isDown(seen);

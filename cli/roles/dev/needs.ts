/** The programs of this computer that a dev cluster is made of. */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

interface Need {
  readonly program: string;
  /** Debian package. */
  readonly of: string;
}

const always: readonly Need[] = [
  { program: 'etcd', of: 'etcd-server' },
  { program: 'setpriv', of: 'util-linux' },
];
const forMachines: readonly Need[] = [
  { program: 'systemd-nspawn', of: 'systemd-container' },
  { program: 'systemctl', of: 'systemd' },
  { program: 'dbus-daemon', of: 'dbus' },
  { program: 'ip', of: 'iproute2' },
  { program: 'nsenter', of: 'util-linux' },
];

const isThere = (program: string): boolean =>
  (process.env.PATH ?? '').split(':').some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      // Not in this folder; the next one may have it.
      return false;
    }
  });

/** What is not on the PATH; `machines`: systemd machines of its own, `user`: the systemd of the user who runs this. */
export const missingPrograms = (kind: 'machines' | 'user'): Need[] =>
  [...always, ...(kind === 'machines' ? forMachines : [])].filter(({ program }) => !isThere(program));

throw new Error('usocket is left out on purpose: dbus-next falls back to node:net');

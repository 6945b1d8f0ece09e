/** Free TCP ports on this computer. Somebody else may take one between our look and its use, so whoever uses it tries again. */
import { createServer } from 'node:net';

const listenOnce = (port: number, host: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, host, () => {
      const address = server.address();
      server.close(() => (address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))));
    });
  });

/** Below the ports that Linux gives to outgoing connections: one of those could take a port before its server has started. */
const range = { lowest: 15_000, count: 15_000 };
const maxTries = 20;

export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let tries = 1; ; tries++) {
    try {
      return await listenOnce(range.lowest + Math.floor(Math.random() * range.count), host);
    } catch (error) {
      if (tries === maxTries || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
  }
}

/** `preferred` when nobody has it, else any free one. */
export const preferredPort = (preferred: number, host = '127.0.0.1'): Promise<number> =>
  listenOnce(preferred, host).catch(() => freePort(host));

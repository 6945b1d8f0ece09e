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

export const freePort = (host = '127.0.0.1'): Promise<number> => listenOnce(0, host);

/** `preferred` when nobody has it, else any free one. */
export const preferredPort = (preferred: number, host = '127.0.0.1'): Promise<number> =>
  listenOnce(preferred, host).catch(() => freePort(host));

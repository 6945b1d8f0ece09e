/** Asks a server a question over its unix socket, without a client library: health and lists, while a cluster comes up. */
import { request } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly body: string;
}

export const ask = (socketPath: string, path: string, timeoutMs = 5_000): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const req = request({ socketPath, path, timeout: timeoutMs, agent: false }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('end', () => resolve({ status: res.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
      res.on('error', reject);
    });
    req.on('timeout', () => req.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    req.on('error', reject);
    req.end();
  });

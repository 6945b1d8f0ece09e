/** A whole `systemctl status` on its way through servers: the text as the body, the exit code in a header. */
import type { FastifyReply } from 'fastify';
import { exitCodeHeader } from '../resources/unit-output.js';
import type { UnitOutput } from './ports.js';

export interface WholeStatus {
  readonly text: Buffer;
  readonly exitCode: number;
}

/** What is kept of one; a unit of a thousand processes and ten very long log lines has less. */
const maxStatusBytes = 1024 * 1024;

/** Reads all of it, for what it means comes last. What is longer than `maxBytes` is cut, and says so. */
export async function wholeStatus(output: UnitOutput, maxBytes = maxStatusBytes): Promise<WholeStatus> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of output.bytes) {
    if (length < maxBytes) chunks.push(chunk.subarray(0, maxBytes - length));
    length += chunk.length;
  }
  if (length > maxBytes) chunks.push(Buffer.from(`\n(cut here: ${length - maxBytes} bytes more)\n`));
  return { text: Buffer.concat(chunks), exitCode: output.exitCode() };
}

export const answerStatus = (reply: FastifyReply, { text, exitCode }: WholeStatus): FastifyReply =>
  reply
    .headers({
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-cache, private',
      'x-content-type-options': 'nosniff',
      [exitCodeHeader]: String(exitCode),
    })
    .send(text);

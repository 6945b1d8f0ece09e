/**
 * What machines use right now: asked of their agents over their streams when somebody wants to know, and kept nowhere. Machines whose
 * streams other servers hold are asked through those; whoever does not answer in time is left out.
 */
import { randomUUID } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Clock } from '../../../runtime/clock.js';
import type { Logger } from '../../../runtime/log.js';
import type { ClusterCache } from '../../objects/ports.js';
import { type AgentFeature, type FromAgent, type FromServer, MachineUsage } from '../../resources/protocol.js';
import type { UsageSource } from '../ports.js';
import { queryOf } from '../query.js';
import { sendJson } from '../reads.js';
import type { Route } from '../routes.js';
import type { AgentLimits } from './limits.js';
import { PeerSilent, type Peers } from './peers.js';

export interface UsagePorts {
  readonly cache: Pick<ClusterCache, 'presence'>;
  readonly serverName: string;
  /** The machine's stream, when this server holds it. */
  readonly streamOf: (machine: string) => { send(message: FromServer): void; knows(feature: AgentFeature): boolean } | undefined;
  readonly peers: Pick<Peers, 'ask'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: Pick<AgentLimits, 'usageTimeoutMs' | 'peerUsageTimeoutMs' | 'maxUsageBytes'>;
}

type Answer = MachineUsage | undefined;

const path = '/servers/v1/usage';
const PeerAnswer = z.record(z.string(), MachineUsage);
/** More machines than this are not named in a URL: the other server then tells of all that it holds. */
const maxNamed = 100;

export class AgentUsage implements UsageSource {
  /** Questions under way, by request. */
  readonly #asked = new Map<string, { readonly machine: string; readonly settle: (usage: Answer) => void }>();
  /** By machine: whoever wants to know while it is being asked shares the answer. */
  readonly #asking = new Map<string, Promise<Answer>>();

  constructor(private readonly ports: UsagePorts) {}

  async of(machines: Iterable<string>, signal: AbortSignal): Promise<ReadonlyMap<string, MachineUsage>> {
    const { cache, serverName, streamOf } = this.ports;
    const here: string[] = [];
    const elsewhere = new Map<string, string[]>();
    for (const machine of machines) {
      const server = cache.presence(machine)?.value.server;
      if (streamOf(machine)) here.push(machine);
      else if (server !== undefined && server !== serverName) elsewhere.set(server, [...(elsewhere.get(server) ?? []), machine]);
    }
    const answers = await Promise.all([this.here(here), ...[...elsewhere].map((one) => this.#through(...one, signal))]);
    return new Map(answers.flatMap((answer) => [...answer]));
  }

  /** Of machines whose streams this server holds. */
  async here(machines: Iterable<string>): Promise<ReadonlyMap<string, MachineUsage>> {
    const answers = await Promise.all([...machines].map(async (machine) => [machine, await this.#ask(machine)] as const));
    return new Map(answers.flatMap(([machine, usage]) => (usage ? [[machine, usage] as const] : [])));
  }

  /** An agent has answered. What was not asked of this machine is nobody's. */
  received(machine: string, { type: _, request, ...usage }: Extract<FromAgent, { type: 'usage' }>): void {
    const asked = this.#asked.get(request);
    if (asked?.machine === machine) asked.settle(usage);
  }

  #ask(machine: string): Promise<Answer> {
    const known = this.#asking.get(machine);
    if (known) return known;
    const { streamOf, clock, limits } = this.ports;
    const stream = streamOf(machine);
    if (!stream?.knows('usage')) return Promise.resolve(undefined);
    const request = randomUUID();
    const answer = new Promise<Answer>((resolve) => {
      const settle = (usage: Answer) => {
        cancel();
        this.#asked.delete(request);
        this.#asking.delete(machine);
        resolve(usage);
      };
      const cancel = clock.after(limits.usageTimeoutMs, () => settle(undefined));
      this.#asked.set(request, { machine, settle });
    });
    this.#asking.set(machine, answer);
    stream.send({ type: 'measure', request });
    return answer;
  }

  async #through(server: string, machines: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, MachineUsage>> {
    const { peers, limits, log } = this.ports;
    const target = (url: URL): URL => {
      const at = new URL(path, url);
      if (machines.length <= maxNamed) for (const machine of machines) at.searchParams.append('machine', machine);
      return at;
    };
    try {
      const response = await peers.ask(server, target, signal, limits.peerUsageTimeoutMs);
      if (response.statusCode !== 200) throw new PeerSilent(`it answered ${response.statusCode}`);
      const told = PeerAnswer.parse(JSON.parse(await textOf(response, limits.maxUsageBytes)));
      return new Map(machines.flatMap((machine) => (told[machine] ? [[machine, told[machine]] as const] : [])));
    } catch (error) {
      if (!signal.aborted) log.warn('another server did not tell what its machines use', { server, error });
      return new Map();
    }
  }
}

async function textOf(chunks: AsyncIterable<Buffer>, maxBytes: number): Promise<string> {
  const all: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new PeerSilent(`its answer is longer than ${maxBytes} bytes`);
    all.push(chunk);
  }
  return Buffer.concat(all).toString();
}

/** The other end: tells of the machines whose streams this server holds, the named ones or all. */
export const usageRoute = (usage: Pick<AgentUsage, 'here'>, held: () => Iterable<string>): Route => ({
  method: 'GET',
  path,
  audience: 'admin',
  attributes: () => ({ path, method: 'get' }),
  async handler(request: FastifyRequest, reply: FastifyReply) {
    const named = queryOf(request).getAll('machine');
    return sendJson(reply, 200, JSON.stringify(Object.fromEntries(await usage.here(named.length > 0 ? named : held()))));
  },
});

/** All agent streams that this server holds: one per machine, told of the cluster's changes from one subscription. */
import type { WebSocket } from 'ws';
import type { CacheBatch, CacheChange, StoredObject } from '../../objects/ports.js';
import type { Presence } from '../../resources/machine.js';
import { machineRemoved, StreamEnd, superseded } from './ending.js';
import type { Caller } from './opening.js';
import { AgentStream, type StreamOwner, type StreamPorts } from './stream.js';

export interface StreamsPorts extends StreamPorts {
  /** The machine's certificate is worth nothing any more. */
  readonly onMachineRemoved: (machine: string) => void;
}

export class AgentStreams implements StreamOwner {
  readonly #ports: StreamsPorts;
  /** Every connection, open or not yet. */
  readonly #all = new Set<AgentStream>();
  /** Those that hold their machine. */
  readonly #byMachine = new Map<string, AgentStream>();
  /** Openings that wait for a place. */
  readonly #queue: (() => void)[] = [];
  #opening = 0;
  readonly #unsubscribe: () => void;
  #cancelSweep = () => {};
  #closed = false;

  constructor(ports: StreamsPorts) {
    this.#ports = ports;
    this.#unsubscribe = ports.cache.subscribe((batch) => this.#tell(batch));
    this.#sweepLater();
  }

  /** How many machines this server holds. */
  get size(): number {
    return this.#byMachine.size;
  }

  get isFull(): boolean {
    return this.#closed || this.#all.size >= this.#ports.limits.maxStreams;
  }

  /** Ids of the machines that this server holds. */
  get machines(): Iterable<string> {
    return this.#byMachine.keys();
  }

  of(machine: string): AgentStream | undefined {
    return this.#byMachine.get(machine);
  }

  accept(socket: WebSocket, caller: Caller): void {
    this.#all.add(new AgentStream(this.#ports, this, caller, socket));
  }

  /** Tells all agents to go elsewhere. Their presence lives on until its TTL: another server has them by then. */
  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#cancelSweep();
    for (const stream of [...this.#all]) stream.end(new StreamEnd('shutdown', 'this server shuts down'));
  }

  async opening(open: () => Promise<void>): Promise<void> {
    if (this.#opening >= this.#ports.limits.maxOpening) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#opening++;
    try {
      await open();
    } finally {
      // The place goes to whoever waits, or is given up.
      const next = this.#queue.shift();
      if (next) next();
      else this.#opening--;
    }
  }

  opened(stream: AgentStream): void {
    const older = this.#byMachine.get(stream.machine);
    this.#byMachine.set(stream.machine, stream);
    older?.end(superseded());
  }

  ended(stream: AgentStream): void {
    this.#all.delete(stream);
    if (this.#byMachine.get(stream.machine) === stream) this.#byMachine.delete(stream.machine);
  }

  #tell({ changes }: CacheBatch): void {
    const touched = new Set<AgentStream>();
    for (const change of changes) {
      const stream = this.#tellOne(change);
      if (stream) touched.add(stream);
    }
    for (const stream of touched) stream.flush();
  }

  /** Marks what changed; returns the stream that has something to send. */
  #tellOne(change: CacheChange): AgentStream | undefined {
    switch (change.table) {
      case 'assignment': {
        const stream = this.#byMachine.get(change.machine);
        stream?.assignmentChanged(change.unit);
        return stream;
      }
      case 'content':
        if (change.row) for (const stream of this.#byMachine.values()) stream.textArrived(change.sha256);
        return undefined;
      case 'presence':
        // The key says what the value is.
        this.#byMachine.get(change.machine)?.presenceChanged(change.row?.value as Presence | undefined);
        return undefined;
      case 'object':
        // The key says what the value is, here too.
        if (change.plural === 'machines')
          this.#machineChanged(change.name, (change.previous?.value as StoredObject | undefined)?.metadata.uid);
        return undefined;
      default:
        return undefined;
    }
  }

  /** Removing the Machine object closes its stream at once; one that cannot be read is not one that was removed. */
  #machineChanged(machine: string, previousUid: string | undefined): void {
    const { cache, onMachineRemoved } = this.#ports;
    if (cache.broken.has(cache.keys.object('machines', machine))) return;
    const uid = cache.object('machines', machine)?.value.metadata.uid;
    for (const stream of [...this.#all]) {
      if (stream.machine !== machine || stream.uid === uid) continue;
      // A stream that is being opened may be of an object that the cache does not show yet: only its own removal counts.
      if (previousUid === stream.uid || this.#byMachine.get(machine) === stream) stream.end(machineRemoved());
    }
    if (uid === undefined || (previousUid !== undefined && uid !== previousUid)) onMachineRemoved(machine);
  }

  #sweepLater(): void {
    this.#cancelSweep = this.#ports.clock.after(this.#ports.limits.sweepEveryMs, () => {
      for (const stream of [...this.#all]) stream.sweep();
      this.#sweepLater();
    });
  }
}

/** A TCP proxy on loopback that misbehaves on demand: cuts, stalls, delays, loses answers, at a moment, at a byte, or at random from a seed. */
import { connect, createServer, type Socket } from 'node:net';
import type { Random } from '../../runtime/clock.js';

type Direction = 'up' | 'down';

export interface TcpProxy {
  readonly port: number;
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  /** Bytes passed from the target to clients so far. */
  readonly bytesDown: number;
  /** Resets every connection now; new ones are accepted. */
  cut(): void;
  /** Each open connection, and each new one until `resume()`, is reset after this many further bytes from the target: in mid-message. */
  cutAfter(bytesDown: number): void;
  /** Connections stay open and nothing passes, in the given directions (both by default); later ones too, until `resume()`. */
  stall(...directions: Direction[]): void;
  /** Bytes from the target vanish: requests arrive, answers are lost. A connection that lost some stays deaf until it is cut. */
  swallowAnswers(): void;
  /** New connections, and those that lost nothing, are well again. */
  stopSwallowing(): void;
  /** What clients send on the connections open now is kept back, even when they hang up, until it is let go: a packet that comes late. */
  holdBack(): HeldBack;
  /** New connections are refused and open ones reset, until `resume()`. */
  refuse(): void;
  /** Every chunk waits this long in each direction. */
  delay(ms: number): void;
  /** Ends stalls, refusals and delays; what a stall held back passes now. */
  resume(): void;
  close(): Promise<void>;
}

export interface HeldBack {
  /** Bytes kept back so far. */
  readonly bytes: number;
  /** Later bytes on these connections vanish: the target will see the request and never that it was given up. */
  stopCapturing(): void;
  letGo(): void;
}

export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  let refusing = false;
  let swallowing = false;
  let delayMs = 0;
  let cutAfterBytes = Number.POSITIVE_INFINITY;
  let bytesDown = 0;
  const stalled = new Set<Direction>();

  class Pair {
    readonly #target = connect(targetPort, '127.0.0.1');
    readonly #held: Record<Direction, Buffer[]> = { up: [], down: [] };
    #swallowed = false;
    #heldBack: { readonly chunks: Buffer[]; capturing: boolean } | undefined;
    #left = cutAfterBytes;

    constructor(private readonly client: Socket) {
      pairs.add(this);
      client.setNoDelay(true);
      this.#target.setNoDelay(true);
      client.on('data', (chunk) => this.#pass('up', chunk));
      this.#target.on('data', (chunk) => this.#pass('down', chunk));
      for (const socket of [client, this.#target]) {
        socket.on('close', () => this.reset());
        // The reset that follows is all that can be done about it.
        socket.on('error', () => this.reset());
      }
    }

    #pass(direction: Direction, chunk: Buffer): void {
      if (direction === 'down' && (swallowing || this.#swallowed)) {
        this.#swallowed = true;
        return;
      }
      if (direction === 'up' && this.#heldBack) {
        if (this.#heldBack.capturing) this.#heldBack.chunks.push(chunk);
        return;
      }
      if (stalled.has(direction) || this.#held[direction].length > 0) {
        this.#held[direction].push(chunk);
        return;
      }
      if (delayMs > 0) setTimeout(() => this.#send(direction, chunk), delayMs);
      else this.#send(direction, chunk);
    }

    #send(direction: Direction, chunk: Buffer): void {
      if (direction === 'up') {
        this.#target.write(chunk);
        return;
      }
      const part = chunk.subarray(0, this.#left);
      this.#left -= part.length;
      bytesDown += part.length;
      this.client.write(part, () => this.#left === 0 && this.reset());
    }

    holdBack(): { readonly chunks: Buffer[]; capturing: boolean } {
      this.#heldBack = { chunks: [], capturing: true };
      return this.#heldBack;
    }

    letGo(): void {
      for (const chunk of this.#heldBack?.chunks ?? []) this.#target.write(chunk);
      if (this.client.destroyed) this.#target.end();
    }

    cutAfter(bytes: number): void {
      this.#left = bytes;
    }

    release(): void {
      for (const direction of ['up', 'down'] as const) for (const chunk of this.#held[direction].splice(0)) this.#send(direction, chunk);
    }

    reset(): void {
      if (!pairs.delete(this)) return;
      // What a stall holds back still reaches the target, as packets in flight would: a write may arrive after its writer has given up.
      for (const chunk of this.#held.up.splice(0)) this.#target.write(chunk);
      this.client.resetAndDestroy();
      if (!this.#heldBack) this.#target.end();
      this.#target.unref();
    }

    /** The target side too, at once. */
    destroy(): void {
      this.reset();
      this.#target.destroy();
    }
  }

  const server = createServer((socket) => {
    if (refusing) socket.resetAndDestroy();
    else new Pair(socket);
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') reject(new Error('no port'));
      else resolve(address.port);
    });
  });
  const cut = () => {
    swallowing = false;
    for (const pair of [...pairs]) pair.reset();
  };

  return {
    port,
    url: `http://127.0.0.1:${port}`,
    get bytesDown() {
      return bytesDown;
    },
    cut,
    cutAfter: (bytes) => {
      cutAfterBytes = bytes;
      for (const pair of pairs) pair.cutAfter(bytes);
    },
    stall: (...directions) => {
      for (const direction of directions.length > 0 ? directions : (['up', 'down'] as const)) stalled.add(direction);
    },
    swallowAnswers: () => {
      swallowing = true;
    },
    holdBack: () => {
      const held = [...pairs].map((pair) => ({ pair, held: pair.holdBack() }));
      return {
        get bytes() {
          return held.reduce((sum, { held: { chunks } }) => sum + chunks.reduce((bytes, chunk) => bytes + chunk.length, 0), 0);
        },
        stopCapturing: () => {
          for (const { held: each } of held) each.capturing = false;
        },
        letGo: () => {
          for (const { pair } of held) pair.letGo();
        },
      };
    },
    stopSwallowing: () => {
      swallowing = false;
    },
    refuse: () => {
      refusing = true;
      cut();
    },
    delay: (ms) => {
      delayMs = ms;
    },
    resume: () => {
      refusing = false;
      delayMs = 0;
      cutAfterBytes = Number.POSITIVE_INFINITY;
      stalled.clear();
      for (const pair of pairs) {
        pair.cutAfter(Number.POSITIVE_INFINITY);
        pair.release();
      }
    },
    close: () => {
      for (const pair of [...pairs]) pair.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

export interface Havoc {
  /** What was done, for the message of a failing test. */
  readonly history: readonly string[];
  stop(): void;
}

/** Misbehaves at random until stopped: cuts, cuts in mid-message, pairs of cuts, stalls, lost answers, refusals. The same seed does the same. */
export function wreakHavoc(proxy: TcpProxy, random: Random, everyMs: readonly [number, number]): Havoc {
  const history: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  const between = (low: number, high: number) => Math.floor(low + random() * (high - low));
  const note = (what: string) => void history.push(what);
  const later = (ms: number, run: () => void) => {
    timer = setTimeout(run, ms);
  };
  const next = () => later(between(...everyMs), act);
  const act = () => {
    const kind = between(0, 6);
    if (kind === 0) {
      note('cut');
      proxy.cut();
      next();
    } else if (kind === 1) {
      const bytes = between(1, 200_000);
      note(`cut after ${bytes} bytes`);
      proxy.cutAfter(bytes);
      later(between(50, 300), () => {
        proxy.resume();
        next();
      });
    } else if (kind === 2) {
      const ms = between(1, 150);
      note(`cut twice, ${ms} ms apart`);
      proxy.cut();
      later(ms, () => {
        proxy.cut();
        next();
      });
    } else if (kind === 3) {
      const ms = between(50, 600);
      note(`stall for ${ms} ms`);
      proxy.stall();
      later(ms, () => {
        proxy.resume();
        next();
      });
    } else if (kind === 4) {
      const ms = between(1, 100);
      note(`lose answers for ${ms} ms`);
      proxy.swallowAnswers();
      later(ms, () => {
        proxy.cut();
        next();
      });
    } else {
      const ms = between(10, 300);
      note(`refuse for ${ms} ms`);
      proxy.refuse();
      later(ms, () => {
        proxy.resume();
        next();
      });
    }
  };
  next();
  return {
    history,
    stop: () => {
      clearTimeout(timer);
      proxy.cut();
      proxy.resume();
    },
  };
}

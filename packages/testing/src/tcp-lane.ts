import type { Socket } from "node:net";

/** What {@link lane} lets through. */
export interface LaneRules {
  /** False: nothing passes, neither bytes nor the end, and nothing more is read. */
  readonly flowing: boolean;
  /** How much later a chunk arrives than it was read. */
  readonly delayMs: number;
  /** How many more bytes may pass before both sides are ended. */
  readonly allowance: number;
}

/** One direction of a proxied connection. */
export interface Lane {
  /** The rules from now on; the allowance counts anew. */
  set(rules: LaneRules): void;
}

/** Bytes that may wait here before the reader is paused. */
const HIGH_WATER_BYTES = 1 << 20;

/**
 * Copies what `from` sends to `to`, under rules that may change at any time; the order is always kept. It stands still
 * until the first rules are set. It holds no resource of its own but a timer that both sockets' closing makes harmless.
 */
export function lane(from: Socket, to: Socket): Lane {
  // A chunk, or null for the end of the stream, and when it may pass.
  const queue: { readonly chunk: Buffer | null; readonly dueMs: number }[] = [];
  let rules: LaneRules = { flowing: false, delayMs: 0, allowance: Infinity };
  let queuedBytes = 0;
  let timer: NodeJS.Timeout | undefined;

  const arrive = (chunk: Buffer | null): void => {
    queue.push({ chunk, dueMs: performance.now() + rules.delayMs });
    queuedBytes += chunk?.length ?? 0;
    pump();
  };

  const pump = (): void => {
    clearTimeout(timer);
    timer = undefined;
    for (let head = queue[0]; head !== undefined && rules.flowing && !to.writableNeedDrain; head = queue[0]) {
      const waitMs = head.dueMs - performance.now();
      if (waitMs > 0) {
        timer = setTimeout(pump, waitMs);
        break;
      }
      queue.shift();
      pass(head.chunk);
    }
    if (rules.flowing && queuedBytes < HIGH_WATER_BYTES) from.resume();
    else from.pause();
  };

  const pass = (chunk: Buffer | null): void => {
    if (chunk === null) return void to.end();
    queuedBytes -= chunk.length;
    if (chunk.length < rules.allowance) {
      rules = { ...rules, allowance: rules.allowance - chunk.length };
      to.write(chunk);
      return;
    }
    // The last bytes leave with an orderly end: a reset could overtake them, and the client would see none.
    to.end(chunk.subarray(0, rules.allowance), () => to.destroySoon());
    from.destroy();
    queue.length = 0;
  };

  from.on("data", arrive);
  from.pause();
  from.on("end", () => arrive(null));
  to.on("drain", pump);
  to.on("close", () => clearTimeout(timer));

  return {
    set(next) {
      rules = next;
      pump();
    },
  };
}

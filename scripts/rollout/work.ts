import { openSync, writeSync } from "node:fs";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

/** How large the large bodies are, both ways. */
export const LARGE_BYTES = 65_536;
/** How many parts a streamed answer has. */
const PARTS = 20;

/** A POST's body. */
export interface Order {
  readonly id: string;
  /** Makes it large. */
  readonly pad: string;
}

/** What all servers do, whichever framework they are made with. Its methods make the bodies of the answers. */
export interface Work {
  /** `GET /small` */
  small(): string;
  /** `GET /large`: 64 KiB. */
  large(): string;
  /** `GET /feed`: the same, in parts, over `feedMs`. */
  feed(): Readable;
  /** `POST /orders`: 64 KiB come in. Writes down that it was executed, and answers with the id. */
  order(body: unknown): string;
  /** `POST /feeds`: both. */
  orderFeed(body: unknown): Readable;
}

/** Under which header every answer says who gave it. */
export const SERVED_BY = "x-served-by";

const LARGE = "x".repeat(LARGE_BYTES);

/**
 * Makes the work of one process. The ids of executed orders go to the file `journal`, one per line, in the moment in
 * which they are executed: what a killed process had written is there.
 */
export function work(options: { readonly journal: string; readonly feedMs: number }): Work {
  const file = openSync(options.journal, "a");
  const feed = (): Readable => Readable.from(parts(options.feedMs));
  const order = (body: unknown): string => {
    const { id, pad } = body as Partial<Order>;
    if (typeof id !== "string" || pad?.length !== LARGE_BYTES) throw new Error("this is not what was sent");
    writeSync(file, `${id}\n`);
    return id;
  };
  return {
    small: () => "small",
    large: () => LARGE,
    feed,
    order,
    orderFeed(body) {
      order(body);
      return feed();
    },
  };
}

async function* parts(feedMs: number): AsyncGenerator<Buffer> {
  const part = Buffer.alloc(Math.floor(LARGE_BYTES / PARTS), "x");
  for (let sent = 0; sent < PARTS; sent++) {
    await sleep(feedMs / PARTS);
    yield part;
  }
  yield Buffer.alloc(LARGE_BYTES % PARTS, "x");
}

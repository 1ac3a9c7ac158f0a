import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { messageOf } from "@rollcall/core";

/** What came of some calls. */
export interface Tally {
  readonly calls: number;
  /** Why calls failed, one entry each. */
  readonly failures: readonly string[];
  /** How many calls each instance answered, by its id. */
  readonly answeredBy: ReadonlyMap<string, number>;
}

/** A stream of calls that goes on until it is stopped. */
export interface Load {
  /** So far. */
  readonly tally: Tally;
  /** Starts no more calls, waits for those under way, and says what came of all of them. */
  stop(): Promise<Tally>;
}

/** The longest a caller waits before he gives up and counts the call as failed. */
const PATIENCE_MS = 10_000;

/** Makes calls of `POST /sd-lorem` one after another, or so many at a time. */
export async function callTimes(clientUrl: string, times: number, atATime = 1): Promise<Tally> {
  const counter = new Counter();
  const caller = async (): Promise<void> => {
    while (counter.calls < times) await counter.call(clientUrl);
  };
  await Promise.all(Array.from({ length: atATime }, caller));
  return counter;
}

/** Makes calls at a steady rate, however long each of them takes: waiting callers do not slow down the others. */
export function startLoad(clientUrl: string, callsPerSecond: number): Load {
  const counter = new Counter();
  const startedAt = performance.now();
  const underWay = new Set<Promise<void>>();
  let started = 0;
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startedAt) * callsPerSecond) / 1_000);
    for (; started < due; started++) {
      const call = counter.call(clientUrl).finally(() => underWay.delete(call));
      underWay.add(call);
    }
  }, 5);
  return {
    tally: counter,
    stop: async () => {
      clearInterval(timer);
      await Promise.all(underWay);
      return counter;
    },
  };
}

class Counter implements Tally {
  calls = 0;
  readonly failures: string[] = [];
  readonly answeredBy = new Map<string, number>();

  /** One call, from the outside: it is good if it was answered with a word, by an instance that says its name. */
  async call(clientUrl: string): Promise<void> {
    this.calls++;
    try {
      const { status, instance, body } = await post(`${clientUrl}/sd-lorem`, { requestType: "word", min: 3, max: 10 });
      if (status !== 200 || instance === undefined || !/^\{"message":"[a-z]{3,10}"\}$/.test(body)) {
        throw new Error(`${status} ${body}`);
      }
      this.answeredBy.set(instance, (this.answeredBy.get(instance) ?? 0) + 1);
    } catch (error) {
      this.failures.push(messageOf(error));
    }
  }
}

interface Answer {
  readonly status: number | undefined;
  readonly instance: string | undefined;
  readonly body: string;
}

/** Callers share some connections, and wait for a free one when a hundred are busy. */
const agent = new Agent({ keepAlive: true, maxSockets: 100 });

/**
 * One request. A connection that was kept alive may be closed by the other side in the very moment in which it is used
 * again: that is nobody's failure, and as every HTTP client does, this one then sends the request once more.
 */
async function post(url: string, body: unknown): Promise<Answer> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  for (;;) {
    const headers = { "content-type": "application/json" };
    const sent = request(url, { method: "POST", headers, agent, signal });
    sent.end(JSON.stringify(body));
    try {
      const [response]: IncomingMessage[] = await once(sent, "response");
      if (response === undefined) throw new Error("no response");
      const instance = response.headers["x-instance"];
      return {
        status: response.statusCode,
        instance: typeof instance === "string" ? instance : undefined,
        body: await text(response),
      };
    } catch (error) {
      const stale = sent.reusedSocket && error instanceof Error && Reflect.get(error, "code") === "ECONNRESET";
      if (!stale || signal.aborted) throw error;
    }
  }
}

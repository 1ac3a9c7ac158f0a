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
      const response = await fetch(`${clientUrl}/sd-lorem`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ requestType: "word", min: 3, max: 10 }),
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const body: unknown = await response.json();
      const instance = response.headers.get("x-instance");
      const message: unknown = Reflect.get(Object(body), "message");
      if (
        response.status !== 200 ||
        instance === null ||
        typeof message !== "string" ||
        !/^[a-z]{3,10}$/.test(message)
      ) {
        throw new Error(`${response.status} ${JSON.stringify(body)}`);
      }
      this.answeredBy.set(instance, (this.answeredBy.get(instance) ?? 0) + 1);
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : "";
      this.failures.push(`${error instanceof Error ? error.message : String(error)}${cause}`);
    }
  }
}

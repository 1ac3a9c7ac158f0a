import { setTimeout as delay } from "node:timers/promises";
import type { HttpClient } from "@rollcall/http";

/** What came of a load. */
export interface LoadReport {
  readonly calls: number;
  readonly failures: readonly unknown[];
  /** Names of those who answered, and how often. */
  readonly answers: Readonly<Record<string, number>>;
}

/** A load that is running. */
export interface Load {
  /** Resolves when so many more calls have ended. */
  more(calls: number): Promise<void>;
  stop(): Promise<LoadReport>;
}

/**
 * Calls a service without pause, from several sides at once, until `stop` is called: two POSTs (never sent twice once
 * bytes have left), a GET and a GET that is answered slowly, in turns. Each POST says a number of its own.
 */
export function load(client: HttpClient, sides = 20): Load {
  let running = true;
  let calls = 0;
  let ended = 0;
  const failures: unknown[] = [];
  const answers: Record<string, number> = {};
  const side = async (): Promise<void> => {
    while (running) {
      const number = calls++;
      const [method, path] = (
        [
          ["POST", `/done/${number}`],
          ["GET", "/name"],
          ["POST", `/done/${number}`],
          ["GET", "/slow"],
        ] as const
      )[number % 4] ?? ["GET", "/name"];
      try {
        const { statusCode, body } = await client.request(path, { method, body: method === "POST" ? "x" : undefined });
        const text = await body.text();
        if (statusCode >= 300) failures.push(new Error(`${method} ${path}: ${statusCode} ${text}`));
        answers[text] = (answers[text] ?? 0) + 1;
      } catch (error) {
        failures.push(error);
      }
      ended++;
    }
  };
  const sidesDone = Promise.all(Array.from({ length: sides }, side));
  return {
    more: async (further) => {
      const until = ended + further;
      while (ended < until) await delay(5);
    },
    stop: async () => {
      running = false;
      await sidesDone;
      return { calls, failures, answers };
    },
  };
}

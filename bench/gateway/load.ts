import { Client, type Dispatcher } from "undici";

/** One kind of request. */
export interface Shape {
  readonly title: string;
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body: Buffer | null;
}

/** A load on one port: as many connections as given, each with one request after the other. */
export class Load {
  readonly #name: string;
  readonly #clients: readonly Client[];

  constructor(name: string, port: number, connections: number) {
    this.#name = name;
    this.#clients = Array.from({ length: connections }, () => new Client(`http://127.0.0.1:${port}`));
  }

  /** Sends without pause for so long; resolves with how many were answered, and in what time. Rejects at any failure. */
  async run(shape: Shape, forMs: number): Promise<{ readonly answers: number; readonly tookMs: number }> {
    const startedMs = performance.now();
    const endMs = startedMs + forMs;
    let answers = 0;
    const one = (client: Client): Promise<void> =>
      new Promise((resolve, reject) => {
        const handler: Dispatcher.DispatchHandler = {
          onRequestStart: () => undefined,
          onResponseStart: (_, statusCode) => {
            if (statusCode !== 200) reject(new Error(`${this.#name}, ${shape.title}: status ${statusCode}`));
          },
          onResponseData: () => undefined,
          onResponseEnd: () => {
            answers++;
            if (performance.now() < endMs) send();
            else resolve();
          },
          onResponseError: (__, error) => reject(error),
        };
        const send = (): void => void client.dispatch({ ...shape }, handler);
        send();
      });
    await Promise.all(this.#clients.map(one));
    return { answers, tookMs: performance.now() - startedMs };
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.destroy()));
  }
}

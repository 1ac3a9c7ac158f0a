import { type IncomingMessage, Agent as HttpAgent, get } from "node:http";
import { fixedInstancer, roundRobin } from "@rollcall/core";
import { type HttpClient, httpClient } from "@rollcall/http";
import axios from "axios";
import { BalancedPool, type Dispatcher, Pool } from "undici";

/** One way to ask three origins for a short text. */
export interface Caller {
  /** Asks, and reads the whole body. */
  call(): Promise<unknown>;
  close(): Promise<unknown>;
}

/** Connections to one origin: as many as calls are under way in all, so that none waits for one. */
const CONNECTIONS = 48;
const GET = { path: "/", method: "GET" } as const;

/** All that are compared, by the names that the table gives them. The first is the floor. */
export const CALLERS: Readonly<Record<string, (ports: readonly number[]) => Caller>> = {
  "undici request, 3 pools in turn": (ports) => {
    const { next, close } = poolsInTurn(ports);
    return {
      close,
      async call() {
        const { body } = await next().request(GET);
        return body.text();
      },
    };
  },

  "rollcall request": (ports) => requesting(clientOf(ports)),

  "rollcall request, adaptive": (ports) =>
    requesting(httpClient({ instancer: fixedInstancer("lorem", instancesAt(ports)) })),

  "rollcall dispatch": (ports) => {
    const client = clientOf(ports);
    return { close: () => client.close(), call: () => dispatched(client, GET) };
  },

  "undici dispatch, 3 pools in turn": (ports) => {
    const { next, close } = poolsInTurn(ports);
    return { close, call: () => dispatched(next(), GET) };
  },

  "undici BalancedPool": (ports) => {
    const pool = new BalancedPool(ports.map(origin), { connections: CONNECTIONS });
    return {
      close: () => pool.close(),
      async call() {
        const { body } = await pool.request(GET);
        return body.text();
      },
    };
  },

  "node:http, in turn": (ports) => {
    const agent = new HttpAgent({ keepAlive: true, maxSockets: CONNECTIONS });
    const next = inTurn(ports);
    return {
      close: async () => agent.destroy(),
      call: () =>
        new Promise((resolve, reject) => {
          const onAnswer = (answer: IncomingMessage): void => {
            let text = "";
            answer.setEncoding("utf8");
            answer.on("data", (chunk: string) => (text += chunk));
            answer.on("end", () => resolve(text));
          };
          get({ host: "127.0.0.1", port: next(), agent }, onAnswer).on("error", reject);
        }),
    };
  },

  "global fetch, in turn": (ports) => {
    const next = inTurn(ports.map(origin));
    return { close: async () => undefined, call: async () => (await fetch(next())).text() };
  },

  "axios, in turn": (ports) => {
    const httpAgent = new HttpAgent({ keepAlive: true, maxSockets: CONNECTIONS });
    const next = inTurn(ports.map(origin));
    return {
      close: async () => httpAgent.destroy(),
      call: async () => (await axios.get<string>(next(), { httpAgent })).data,
    };
  },
};

function origin(port: number): string {
  return `http://127.0.0.1:${port}`;
}

function instancesAt(ports: readonly number[]) {
  return ports.map((port) => ({ service: "lorem", host: "127.0.0.1", port }));
}

/** With everything that it does by default: retries, a deadline, a budget. */
function clientOf(ports: readonly number[]) {
  return httpClient({ instancer: fixedInstancer("lorem", instancesAt(ports)), policy: roundRobin() });
}

function requesting(client: HttpClient): Caller {
  return {
    close: () => client.close(),
    async call() {
      const { body } = await client.request("/");
      return body.text();
    },
  };
}

function inTurn<T>(values: readonly T[]): () => T {
  let turn = 0;
  return () => values[turn++ % values.length] as T;
}

function poolsInTurn(ports: readonly number[]) {
  const pools = ports.map((port) => new Pool(origin(port), { connections: CONNECTIONS }));
  return { next: inTurn(pools), close: () => Promise.all(pools.map((pool) => pool.close())) };
}

interface Dispatching {
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean | void;
}

/** What one writes who wants it to be quick: the body's text, and nothing else of the answer. */
function dispatched(to: Dispatching, options: Dispatcher.DispatchOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    to.dispatch(options, {
      onRequestStart() {},
      onResponseStart() {},
      onResponseData: (_controller, chunk) => void (text += chunk.toString("utf8")),
      onResponseEnd: () => resolve(text),
      onResponseError: (_controller, error) => reject(error),
    });
  });
}

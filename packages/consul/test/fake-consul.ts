import { once } from "node:events";
import * as http from "node:http";
import * as https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { Agenda, systemEnv } from "@rollcall/core";
import Consul from "consul";
import type { ConsulAccess } from "../src/call.ts";
import type { ConsulApi } from "../src/client.ts";

/** One request that reached the fake. */
export interface SeenRequest {
  readonly method: string;
  /** As it was sent: still encoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  /** By `performance.now()`. */
  readonly atMs: number;
  /** Resolves when the client has closed the connection, or the answer is out. */
  readonly closed: Promise<void>;
}

export type Reply = (request: SeenRequest, response: http.ServerResponse) => unknown;

/** A real HTTP server that plays Consul, badly if the test wants it. */
export interface FakeConsul extends AsyncDisposable {
  readonly url: string;
  readonly requests: readonly SeenRequest[];
  /** Connections that are open now. */
  readonly connections: number;
  /** Decides what is answered from now on. */
  reply: Reply;
  /** Resolves with the n-th request (from 1), which may not have come yet. */
  request(number: number): Promise<SeenRequest>;
  /** A way to it as the two halves have it. */
  access(more?: Partial<ConsulAccess>): ConsulAccess;
}

export interface FakeOptions {
  readonly host?: string;
  readonly tls?: https.ServerOptions;
}

export async function fakeConsul(reply: Reply, options: FakeOptions = {}): Promise<FakeConsul> {
  const host = options.host ?? "127.0.0.1";
  const requests: SeenRequest[] = [];
  const sockets = new Set<Socket>();
  const clients: Consul[] = [];
  const arrivals: (() => void)[] = [];

  const onRequest = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const atMs = performance.now();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(`http://fake${request.url}`);
    const seen: SeenRequest = {
      method: request.method ?? "",
      path: (request.url ?? "").split("?")[0] ?? "",
      query: url.searchParams,
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
      atMs,
      closed: once(response, "close").then(() => undefined),
    };
    requests.push(seen);
    for (const arrive of arrivals.splice(0)) arrive();
    fake.reply(seen, response);
  };
  const listener: http.RequestListener = (request, response) =>
    void onRequest(request, response).catch(() => undefined);
  const server = options.tls === undefined ? http.createServer(listener) : https.createServer(options.tls, listener);
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = `${options.tls === undefined ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${port}`;

  const fake: FakeConsul = {
    url,
    requests,
    get connections() {
      return sockets.size;
    },
    reply,
    async request(number) {
      for (;;) {
        const seen = requests[number - 1];
        if (seen !== undefined) return seen;
        await new Promise<void>((resolve) => arrivals.push(resolve));
      }
    },
    access(more) {
      const client = new Consul({ baseUrl: `${url}/v1` } as ConstructorParameters<typeof Consul>[0]);
      clients.push(client);
      const env = more?.env ?? systemEnv;
      const api = client as unknown as ConsulApi;
      return { api, maxAnswerBytes: 16 * 1024 * 1024, agenda: new Agenda(env), env, ...more };
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy();
      server.closeAllConnections();
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
  return fake;
}

/** Answers with a list, or whatever else is given, as Consul does. */
export function answer(response: http.ServerResponse, index: number | string | undefined, body: unknown): void {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (index !== undefined) headers["x-consul-index"] = String(index);
  response.writeHead(200, headers).end(JSON.stringify(body));
}

/** A record of `/v1/health/service/…` as Consul 1.8 writes it. */
export function record(port: number, service: object = {}, node: object = {}): object {
  return {
    Node: { ID: "2af3425c", Node: "vm", Address: "10.0.0.9", Datacenter: "dc1", Meta: null, ...node },
    Service: {
      ID: `lorem-${port}`,
      Service: "lorem",
      Tags: [],
      Address: "10.0.0.1",
      Meta: null,
      Port: port,
      Weights: { Passing: 1, Warning: 1 },
      ...service,
    },
    Checks: [],
  };
}

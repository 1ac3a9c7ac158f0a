import { type RequestListener, createServer } from "node:http";
import connect from "connect";
import express from "express";
import express4 from "express4";
import type { DiscoveryMiddleware, Handler } from "../src/index.ts";

/** What an application has: middleware for all requests, health checks, and one route. */
export interface Application {
  readonly clients: DiscoveryMiddleware;
  readonly live: Handler;
  readonly ready: Handler;
  /** `GET /word` */
  readonly word: Handler;
}

function ofExpress(make: typeof express): (application: Application) => RequestListener {
  return ({ clients, live, ready, word }) =>
    make().get("/live", live).get("/ready", ready).use(clients).get("/word", word);
}

/** The same application, on everything that calls middleware with a request, a response and `next`. */
export const stacks: Readonly<Record<string, (application: Application) => RequestListener>> = {
  "Express 5": ofExpress(express),
  "Express 4": ofExpress(express4),
  Connect: ({ clients, live, ready, word }) =>
    connect().use("/live", live).use("/ready", ready).use(clients).use("/word", word),
  "node:http":
    ({ clients, live, ready, word }) =>
    (request, response) => {
      if (request.url === "/live") live(request, response);
      else if (request.url === "/ready") ready(request, response);
      else clients(request, response, () => word(request, response));
    },
};

/** Starts it on a free port. */
export function listen(listener: RequestListener): ReturnType<typeof createServer> {
  return createServer(listener).listen(0, "127.0.0.1");
}

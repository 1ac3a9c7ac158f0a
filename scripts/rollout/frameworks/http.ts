import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { json } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { announce } from "@rollcall/http/server";
import { SERVED_BY, type Work } from "../work.ts";
import { HOST, type Serve } from "./serve.ts";

export const serve: Serve = async ({ registry, service, port, drainMs, work, name }) => {
  const server = createServer((request, response) => {
    response.setHeader(SERVED_BY, name);
    handle(work, request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end(String(error));
    });
  });
  server.listen(port, HOST);
  await announce(server, { registry, service, drainMs, closeAfter: [registry] });
};

async function handle(work: Work, request: IncomingMessage, response: ServerResponse): Promise<void> {
  switch (`${request.method} ${request.url}`) {
    case "GET /small":
      return void response.end(work.small());
    case "GET /large":
      return void response.end(work.large());
    case "GET /feed":
      return pipeline(work.feed(), response);
    case "POST /orders":
      return void response.end(work.order(await json(request)));
    case "POST /feeds":
      return pipeline(work.orderFeed(await json(request)), response);
    default:
      return void response.writeHead(404).end();
  }
}

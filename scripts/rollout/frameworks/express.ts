import { pipeline } from "node:stream/promises";
import { announce, health } from "@rollcall/express";
import express from "express";
import { SERVED_BY } from "../work.ts";
import { HOST, type Serve } from "./serve.ts";

export const serve: Serve = async ({ registry, service, port, drainMs, work, name }) => {
  const app = express();
  app.get("/health", health());
  app.use((_request, response, next) => {
    response.setHeader(SERVED_BY, name);
    next();
  });
  app.get("/small", (_request, response) => void response.send(work.small()));
  app.get("/large", (_request, response) => void response.send(work.large()));
  app.get("/feed", (_request, response) => pipeline(work.feed(), response));
  app.use(express.json());
  app.post("/orders", (request, response) => void response.send(work.order(request.body)));
  app.post("/feeds", (request, response) => pipeline(work.orderFeed(request.body), response));
  const server = app.listen(port, HOST);
  await announce(server, { registry, service, drainMs, closeAfter: [registry] });
};

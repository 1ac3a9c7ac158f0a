// An Express application in TypeScript: announced, healthy, with clients in its requests and a gateway.
import "@rollcall/express/augment";
import { createServer } from "node:http";
import { memoryRegistry } from "@rollcall/core";
import { announce, discovery, gateway, health } from "@rollcall/express";
import { serviceClient } from "@rollcall/http";
import express from "express";

const registry = memoryRegistry();
const clients = discovery({ registry, clients: { hello: { retry: { timeoutMs: 2_000 } } } });
const proxy = gateway("hello", { registry });

const hello = express();
hello.get("/word", (_request, response) => void response.json({ message: "hello" }));
const options = { registry, drainMs: 0, signals: false } as const;
const first = await announce(createServer(hello).listen(0), { ...options, service: "hello" });

const shop = express();
shop.get("/health", health());
shop.use("/api/hello", proxy);
shop.use(clients);
shop.get("/word", (request, response, next) => {
  request.discovery
    .client("hello")
    .fetch("/word")
    .then((answer) => answer.json())
    .then((word) => void response.json(word), next);
});
const second = await announce(createServer(shop).listen(0), {
  ...options,
  service: "shop",
  closeAfter: [proxy, clients],
});

const front = serviceClient(registry, "shop");
const said: string[] = [];
for (const path of ["/health", "/word", "/api/hello/word"]) said.push(await (await front.fetch(path)).text());
await front.close();
await second.close();
await first.close();
await registry.close();
if (said.join() !== '{"status":"ok"},{"message":"hello"},{"message":"hello"}') throw new Error(said.join());
process.stdout.write("ok\n");

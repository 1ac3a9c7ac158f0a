// A process that does nothing but serve and be announced. What it prints tells the test where it is.
import { createServer } from "node:http";
import { memoryRegistry } from "@rollcall/core";
import express from "express";
import { announce, discovery, health } from "../src/index.ts";

const registry = memoryRegistry();
const clients = discovery({ registry, clients: { lorem: {} } });
const app = express().use(clients).get("/health", health());
app.get("/self", async (_, response) => {
  response.send(await (await clients.client("lorem").fetch("/health")).text());
});
app.get("/hang", (_, response) => void response.write("begun"));
const server = createServer(app).listen(0, "127.0.0.1");
const drainMs = Number(process.argv[2]);
const announced = await announce(server, { registry, service: "lorem", drainMs, closeAfter: [clients, registry] });
server.once("close", () => console.log("closed"));
console.log(announced.instance.port);

// A worker thread that is an instance with an event loop of its own: it serves, reports its load, and blocks its loop for
// 200 ms of every 250 while it is told to. Says which port it listens on.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { parentPort } from "node:worker_threads";
import { loadReporter } from "../src/server.ts";

const server = createServer((_, response) => void setTimeout(() => response.end("done"), 5));
server.prependListener("request", loadReporter().watch);
await once(server.listen(0, "127.0.0.1"), "listening");
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- it is a thread, not a window
parentPort?.postMessage((server.address() as AddressInfo).port);

let blocked = false;
parentPort?.on("message", (message: boolean) => (blocked = message));
setInterval(() => {
  if (!blocked) return;
  for (const end = performance.now() + 200; performance.now() < end;);
}, 250);

// A gateway in a process of its own, to the instance at the port that is its argument. Says its own port; then, asked by
// any message, the most memory that it has used since it was last asked.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fixedInstancer } from "@rollcall/core";
import { httpClient } from "@rollcall/http";
import { gateway } from "../src/index.ts";

const instancer = fixedInstancer("lorem", [{ service: "lorem", host: "127.0.0.1", port: Number(process.argv[2]) }]);
const server = createServer(gateway("lorem", { client: httpClient({ instancer }) })).listen(0, "127.0.0.1");
await once(server, "listening");

let most = 0;
setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 5);
process.on("message", () => {
  process.send?.(Math.max(most, process.memoryUsage.rss()));
  most = 0;
});
process.once("disconnect", () => process.exit());
process.send?.((server.address() as AddressInfo).port);

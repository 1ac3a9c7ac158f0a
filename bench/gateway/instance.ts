// The instances behind the proxies that are compared: two plain servers in one process. Says their ports to its parent.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const json = Buffer.from(JSON.stringify({ word: "lorem", from: "instance", numbers: [1, 2, 3] }));
const block = Buffer.alloc(65_536, "x");

const ports: number[] = [];
for (let n = 0; n < 2; n++) {
  const server = createServer((request, response) => {
    if (request.method === "POST") {
      request.resume().once("end", () => {
        response.writeHead(200, { "content-type": "application/json", "content-length": json.length }).end(json);
      });
      return;
    }
    const body = request.url === "/block" ? block : json;
    response.writeHead(200, { "content-type": "application/octet-stream", "content-length": body.length }).end(body);
  });
  // Longer than any proxy waits for its turn: a connection that ends as it is used again fails a POST, rightly.
  server.keepAliveTimeout = 120_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ports.push((server.address() as AddressInfo).port);
}
process.send?.(ports);
process.once("disconnect", () => process.exit());

import { once } from "node:events";
import type { RequestListener } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type TLSSocket, connect } from "node:tls";
import { describe, expect, it, onTestFinished } from "vitest";
import { serverDrain } from "../src/server.ts";
import { certificateFor } from "./certificate.ts";

const { key, cert } = certificateFor("lorem.test");

/** A server that is to be drained, and a connection to it on which a request is under way. */
async function asked(listener: RequestListener) {
  const server = createServer({ key, cert }, listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  const drain = serverDrain(server);
  const { port } = server.address() as AddressInfo;
  const client: TLSSocket = connect({ host: "127.0.0.1", port, ca: cert, servername: "lorem.test" });
  onTestFinished(() => {
    client.destroy();
    server.close();
    server.closeAllConnections();
  });
  await once(client, "secureConnect");
  client.write("GET / HTTP/1.0\r\nhost: lorem.test\r\n\r\n");
  return { server, drain, client };
}

describe("draining an HTTPS server", () => {
  it("lets an answer leave whole that was ended before", async () => {
    const size = 20_000_000;
    const { server, drain, client } = await asked((_, response) => response.end(Buffer.alloc(size)));
    await once(server, "request");
    const stopped = drain.stop({ graceMs: 60_000 });
    await new Promise((resolve) => setTimeout(resolve, 250));
    let received = 0;
    for await (const chunk of client) received += (chunk as Buffer).length;
    expect(received).toBeGreaterThan(size);
    await stopped;
  });

  it("breaks off after graceMs what is under way, and leaves no connection", async () => {
    const { drain, client } = await asked((_, response) => response.write("the first half"));
    const failed = once(client, "error");
    await once(client, "data");
    client.resume();
    await drain.stop({ graceMs: 50 });
    expect(await failed).toMatchObject([{ code: "ECONNRESET" }]);
  });
});

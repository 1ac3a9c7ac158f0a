// One proxy in a process of its own: `subject.ts <name> <ports of the instances>`. Says its port to its parent.
import { once } from "node:events";
import { type RequestListener, Agent, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream";
import { fixedInstancer } from "@rollcall/core";
import { gateway } from "@rollcall/express";
import { httpClient } from "@rollcall/http";
import httpProxy from "http-proxy-3";
import { Pool } from "undici";

/** What is compared. */
const SUBJECTS: Readonly<Record<string, (ports: readonly number[]) => RequestListener>> = {
  /** Ours, with everything that it does by default. */
  rollcall: (ports) => {
    const instances = ports.map((port) => ({ service: "lorem", host: "127.0.0.1", port }));
    return gateway("lorem", { client: httpClient({ instancer: fixedInstancer("lorem", instances) }) });
  },

  /** What one writes by hand: round robin, undici's `request`, `pipeline`; what a proxy must do, and nothing besides. */
  base: (ports) => {
    const pools = ports.map((port) => new Pool(`http://127.0.0.1:${port}`));
    const hopByHop = new Set(
      (
        "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding " +
        "upgrade host expect"
      ).split(" "),
    );
    let next = 0;
    return (request, response) => {
      const pool = pools[next++ % pools.length];
      if (pool === undefined) throw new Error("no instance");
      const headers: Record<string, string | string[]> = {};
      for (const [name, value] of Object.entries(request.headers)) {
        if (value !== undefined && !hopByHop.has(name)) headers[name] = value;
      }
      headers["x-forwarded-for"] = request.socket.remoteAddress ?? "unknown";
      const hasBody = request.method !== "GET" && request.method !== "HEAD";
      const caller = new AbortController();
      response.once("close", () => caller.abort());
      pool
        .request({
          path: request.url ?? "/",
          method: request.method ?? "GET",
          headers,
          body: hasBody ? request : null,
          signal: caller.signal,
        })
        .then((answer) => {
          const back: Record<string, string | string[]> = {};
          for (const [name, value] of Object.entries(answer.headers)) {
            if (value !== undefined && !hopByHop.has(name)) back[name] = value;
          }
          response.writeHead(answer.statusCode, back);
          pipeline(answer.body, response, () => undefined);
        })
        .catch(() => {
          if (response.headersSent) response.destroy();
          else response.writeHead(502).end();
        });
    };
  },

  /** As it comes: a connection for each request. */
  "http-proxy-3": (ports) => proxyThree(ports, {}),
  /** With connections that are kept, as all the others do. */
  "http-proxy-3, kept": (ports) => proxyThree(ports, { agent: new Agent({ keepAlive: true }) }),
};

function proxyThree(ports: readonly number[], options: { readonly agent?: Agent }): RequestListener {
  const proxy = httpProxy.createProxyServer({ ...options, xfwd: true });
  let next = 0;
  return (request, response) => {
    const target = `http://127.0.0.1:${ports[next++ % ports.length]}`;
    proxy.web(request, response, { target }, () => response.writeHead(502).end());
  };
}

const [name = "", ...ports] = process.argv.slice(2);
const subject = SUBJECTS[name];
if (subject === undefined) throw new Error(`no such subject: ${name}`);
const server = createServer(subject(ports.map(Number)));
server.listen(0, "127.0.0.1");
await once(server, "listening");
process.send?.((server.address() as AddressInfo).port);
process.on("message", () => process.send?.(process.cpuUsage()));
process.once("disconnect", () => process.exit());

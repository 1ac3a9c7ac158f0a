import { once } from "node:events";
import { type RequestListener, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type LoadReport, type Policy, roundRobin } from "@rollcall/core";
import express from "express";
import { describe, expect, it, onTestFinished } from "vitest";
import { world } from "../test/gateway-world.ts";
import { answerTrailers } from "./forwarded-headers.ts";
import { loadReports } from "./index.ts";

const HEADER = "endpoint-load-metrics";
const FORM = /^TEXT application_utilization=[\d.]+,named_metrics\.in_flight=(\d+)$/;

async function listening(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("loadReports", () => {
  it("has each answer of an application say how many others there are", async () => {
    const app = express();
    let release = (): void => undefined;
    app.use(loadReports());
    app.get("/slow", (_, response) => void (release = () => response.send("done")));
    app.get("/quick", (_, response) => void response.send("done"));
    app.get("/failing", () => {
      throw new Error("as it should");
    });
    app.use(
      ((_error, _request, response, _next) =>
        void response.status(500).send("failed")) satisfies express.ErrorRequestHandler,
    );
    const url = await listening(app);
    const inFlight = async (path: string) => FORM.exec((await fetch(url + path)).headers.get(HEADER) ?? "")?.[1];
    expect(await inFlight("/quick")).toBe("0");
    const slow = inFlight("/slow");
    await expect.poll(() => inFlight("/quick")).toBe("1");
    expect(await inFlight("/failing")).toBe("1");
    expect(await inFlight("/missing")).toBe("1");
    release();
    expect(await slow).toBe("0");
  });
});

describe("a gateway", () => {
  it("hears what instances say of their load, and keeps it to itself", async () => {
    const { instance, front } = world();
    await instance((_, response) => {
      response.writeHead(200, {
        [HEADER]: "TEXT named_metrics.in_flight=7",
        "endpoint-load-metrics-bin": "CQAA",
        "x-other": "1",
        trailer: `${HEADER}, x-more`,
      });
      response.write("done");
      response.addTrailers({ [HEADER]: "TEXT eps=1", "x-more": "1" });
      response.end();
    });
    const heard: LoadReport[] = [];
    const policy: Policy = {
      name: "listening",
      create: (env) => ({ ...roundRobin().create(env), report: (_, report) => void heard.push(report) }),
    };
    const port = await front({ policy });
    const response = await fetch(`http://127.0.0.1:${port}/`);
    expect(await response.text()).toBe("done");
    expect(heard).toEqual([{ inFlight: 7 }]);
    expect([...response.headers.keys()].filter((name) => name.startsWith("endpoint-load"))).toEqual([]);
    expect(response.headers.get("x-other")).toBe("1");
  });

  it("keeps reports in trailers to itself, too", () => {
    expect(answerTrailers({ [HEADER]: "TEXT eps=1" })).toBeUndefined();
    expect({ ...answerTrailers({ [HEADER]: "TEXT eps=1", "x-more": "1" }) }).toEqual({ "x-more": "1" });
  });

  it("may say how loaded it is itself", async () => {
    const { instance, gateway } = world();
    await instance((_, response) => {
      response.writeHead(200, { [HEADER]: "TEXT named_metrics.in_flight=7", "set-cookie": ["a=1", "b=2"] }).end("done");
    });
    const app = express();
    app.use(loadReports(), gateway());
    const { headers } = await fetch(await listening(app));
    expect(FORM.exec(headers.get(HEADER) ?? "")?.[1]).toBe("0");
    expect(headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  });
});

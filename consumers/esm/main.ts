// A strict ESM program over everything that is not a framework's: announces a server, finds it, calls it in each way.
import { createServer } from "node:http";
import { type Snapshot, createClient, isDiscoveryError, memoryRegistry, roundRobin } from "@rollcall/core";
import { consulRegistry } from "@rollcall/consul";
import { dnsRegistry } from "@rollcall/dns";
import { etcdRegistry } from "@rollcall/etcd";
import { discoveryDispatcher, serviceClient } from "@rollcall/http";
import { createFetch } from "@rollcall/http/fetch";
import { announce, isDraining } from "@rollcall/http/server";
import { manualClock } from "@rollcall/testing";
import { type Capabilities, rules } from "@rollcall/testing/conformance";
import type { TestServer } from "@rollcall/testing/servers";
import { zookeeperRegistry } from "@rollcall/zookeeper";

// Their types alone: they need real servers.
export type Kit = [Capabilities, TestServer];

const registry = memoryRegistry();
const server = createServer((request, response) => void response.end(`hello ${isDraining(request)}`)).listen(0);
const announced = await announce(server, { registry, service: "hello", drainMs: 0, signals: false });

await using client = serviceClient(registry, { service: "hello", policy: roundRobin(), retry: { timeoutMs: 2_000 } });
const said: string[] = [await (await client.request("/")).body.text(), await (await client.fetch("/")).text()];

await using dispatcher = discoveryDispatcher({ registry });
const answer = await dispatcher.request({ origin: "http://hello", path: "/", method: "GET" });
said.push(await answer.body.text());

await using fetchHello = createFetch({ registry });
said.push(await (await fetchHello("http://hello/")).text());

await using own = createClient({
  instancer: registry.instancer("hello"),
  factory: ({ host, port }) => `${host}:${port}`,
});
said.push(await own.call((where, { number }) => (where !== "" && number === 1 ? "hello false" : "")));

if (said.length !== 5 || said.some((each) => each !== "hello false")) throw new Error(said.join(", "));
await announced.close();

// Backends are made without anything there, and end in good order.
for (const dead of [
  consulRegistry({ url: "http://127.0.0.1:1" }),
  etcdRegistry({ url: "http://127.0.0.1:1" }),
  zookeeperRegistry({ url: "127.0.0.1:1" }),
  dnsRegistry({ servers: ["127.0.0.1:1"] }),
]) {
  const instancer = dead.instancer("hello");
  const seen: Snapshot["state"] = instancer.snapshot.state;
  const unsubscribe = instancer.subscribe(() => undefined);
  unsubscribe();
  await dead.close();
  if (seen !== "pending") throw new Error(seen);
}
const error: unknown = await client.request("/gone").catch((thrown: unknown) => thrown);
if (!isDiscoveryError(error, "RETRY")) throw new Error("a call without an instance has to fail with RetryError");
if (rules.length < 19) throw new Error("the conformance kit has lost rules");
if (manualClock().env.now() !== 0) throw new Error("a manual clock begins at 0");
await registry.close();
process.stdout.write("ok\n");

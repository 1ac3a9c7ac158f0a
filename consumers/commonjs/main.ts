// A CommonJS program in TypeScript: its imports become `require()`, which Node can do with ESM packages since 22.12.
import { createServer } from "node:http";
import consul = require("@rollcall/consul");
import { memoryRegistry } from "@rollcall/core";
import dns = require("@rollcall/dns");
import etcd = require("@rollcall/etcd");
import { gateway, health } from "@rollcall/express";
import { serviceClient } from "@rollcall/http";
import { createFetch } from "@rollcall/http/fetch";
import { announce } from "@rollcall/http/server";
import { freePort } from "@rollcall/testing";
import zookeeper = require("@rollcall/zookeeper");

async function main(): Promise<void> {
  if (typeof require !== "function") throw new Error("this is not CommonJS");
  const { consulRegistry } = consul;
  for (const factory of [consulRegistry, etcd.etcdRegistry, zookeeper.zookeeperRegistry, dns.dnsRegistry, gateway]) {
    if (typeof factory !== "function") throw new Error("not a function");
  }
  const registry = memoryRegistry();
  const announced = await announce(createServer(health()).listen(await freePort()), {
    registry,
    service: "hello",
    drainMs: 0,
    signals: false,
  });
  const client = serviceClient(registry, "hello");
  const fetchHello = createFetch({ registry });
  const answers = [await (await client.fetch("/")).text(), await (await fetchHello("http://hello/")).text()];
  if (answers.some((each) => each !== '{"status":"ok"}')) throw new Error(answers.join(", "));
  await client.close();
  await fetchHello.close();
  await announced.close();
  await registry.close();
  process.stdout.write("ok\n");
}

void main();

import assert from "node:assert/strict";
import type { InstanceInit, ServiceQuery } from "@rollcall/core";
import { has, idsOf } from "../follower.ts";
import type { Rule } from "../rule.ts";

/** 13: what belongs to the caller stays as the caller made it. */
export const optionsStayUnchanged: Rule = {
  number: 13,
  title: "leaves its options unchanged",
  uses: [],
  async run(context) {
    const service = context.service();
    const init: InstanceInit = {
      service,
      host: "127.0.0.1",
      port: 9_999,
      tags: ["z", "a"],
      metadata: { key: "value" },
    };
    const query: ServiceQuery = { service, tags: ["z", "a", "z"] };
    const given = { init, query, signal: {}, options: context.harness.options };
    const before = copyOf(given);

    const registry = await context.open();
    const registrar = registry.registrar(init);
    await registrar.register(given.signal);
    await context.follow(query, registry);
    const follower = await context.follow(service, registry);
    await follower.until("the instance", context.patienceMs, ({ instances }) => instances.length === 1);
    await registrar.deregister(given.signal);
    await registry.close();
    assert.deepEqual(given, before, "what was passed in is as it was");
  },
};

/** A deep copy of plain data; functions and objects with a class of their own are the very same. */
function copyOf<T>(value: T): T;
function copyOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((entry: unknown) => copyOf(entry));
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, copyOf(entry)]));
}

/** 14: one connection, many users; none of them ends what another one began. */
export const usersAreIndependent: Rule = {
  number: 14,
  title: "keeps two services and two registrars on one registry independent",
  uses: [],
  async run(context) {
    const registry = await context.open();
    const service = context.service();
    // The name of one begins with the name of the other: a registry that searches by prefix must not mix them up.
    const other = `${service}-too`;
    const [a, b] = [context.instance(service, "a"), context.instance(other, "b")];
    const registrar = await context.announce(a, registry);
    await context.announce(b, registry);
    const first = await context.follow(service, registry);
    const second = await context.follow(service, registry);
    const elsewhere = await context.follow(other, registry);
    const { patienceMs } = context;
    const seen = await first.until("the first service", patienceMs, (snapshot) => has(snapshot, "a"));
    assert.deepEqual(idsOf(seen), ["a"], "a service has its own instances only");
    const otherSeen = await elsewhere.until("the second service", patienceMs, (snapshot) => has(snapshot, "b"));
    assert.deepEqual(idsOf(otherSeen), ["b"], "the other service too");

    context.begin("closing one of several instancers");
    await first.instancer.close();
    await context.announce(context.instance(service, "c"), registry);
    await context.announce(context.instance(other, "d"), registry);
    await second.until("a change, by the same query", patienceMs, (snapshot) => has(snapshot, "c"));
    await elsewhere.until("a change of the other service", patienceMs, (snapshot) => has(snapshot, "d"));

    context.begin("ending one of several registrars");
    await registrar.deregister();
    await registrar.close();
    await second.until("the deregistered one gone", patienceMs, (snapshot) => !has(snapshot, "a"));
    await context.pass(context.harness.settleMs);
    const fresh = await context.follow(other);
    await fresh.until("the other service complete", patienceMs, (snapshot) => idsOf(snapshot).join() === "b,d");
  },
};

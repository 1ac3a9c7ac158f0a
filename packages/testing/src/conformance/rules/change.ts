import assert from "node:assert/strict";
import { has } from "../follower.ts";
import type { Rule } from "../rule.ts";

/** 7: how soon is part of the promise. */
export const changesAppearInTime: Rule = {
  number: 7,
  title: "shows what was registered, and no more what was deregistered, within settleMs",
  uses: [],
  async run(context) {
    const { settleMs } = context.harness;
    const service = context.service();
    await context.announce(context.instance(service, "neighbour"));
    const follower = await context.follow(service);
    await follower.until("the neighbour", context.patienceMs, (snapshot) => has(snapshot, "neighbour"));
    for (const id of ["a", "b", "c"]) {
      const registrar = await context.announce(context.instance(service, id));
      await follower.until(`registered ${id} appears`, settleMs, (snapshot) => has(snapshot, id));
      context.begin(`deregistering ${id}`);
      await registrar.deregister();
      await follower.until(`deregistered ${id} goes`, settleMs, (snapshot) => !has(snapshot, id));
    }
  },
};

/** 8: one part of an application that fails must not make another part blind. */
export const throwingListenersStarveNobody: Rule = {
  number: 8,
  title: "lets a throwing listener starve nobody",
  uses: [],
  async run(context) {
    const service = context.service();
    await context.announce(context.instance(service, "a"));
    const registry = await context.open();
    const instancer = registry.instancer(service);
    const calls = { before: 0, throwing: 0, after: 0 };
    instancer.subscribe(() => void calls.before++);
    instancer.subscribe(() => {
      calls.throwing++;
      throw new Error("a listener that throws");
    });
    instancer.subscribe(() => void calls.after++);
    // The same question, asked by another part of the application: it may well share the watch.
    const other = await context.follow(service, registry);
    await other.until("the first instance", context.patienceMs, (snapshot) => has(snapshot, "a"));

    const told = { ...calls };
    await context.announce(context.instance(service, "b"));
    await other.until("the second instance, elsewhere", context.patienceMs, (snapshot) => has(snapshot, "b"));
    await context.pass(context.harness.settleMs);
    for (const listener of ["before", "throwing", "after"] as const) {
      assert.ok(told[listener] > 0, `the listener "${listener}" was told of the first instance`);
      assert.ok(calls[listener] > told[listener], `the listener "${listener}" was told of the second instance`);
    }
    assert.ok(has(instancer.snapshot, "b"), "the snapshot is up to date");
  },
};

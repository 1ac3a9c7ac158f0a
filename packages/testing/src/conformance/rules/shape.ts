import assert from "node:assert/strict";
import { address, type InstanceInit, type Snapshot } from "@rollcall/core";
import { describeSnapshot, follow, has, idsOf } from "../follower.ts";
import { abilities, type Rule } from "../rule.ts";
import type { RuleContext } from "../rule-context.ts";

/** 1: "not asked yet" and "could not ask" are something else than "there are none". */
export const pendingBeforeTheFirstAnswer: Rule = {
  number: 1,
  title: "is pending before the first answer",
  uses: [],
  async run(context) {
    const service = context.service();
    await context.announce(context.instance(service, "a"));
    const registry = await context.open();
    const instancer = registry.instancer(service);
    assertPending(instancer.snapshot, "before anybody subscribed");
    const follower = follow(instancer);
    assertPending(instancer.snapshot, "right after the first subscription");
    await follower.until("the registered instance", context.patienceMs, (snapshot) => has(snapshot, "a"));

    context.begin("asking a registry that is down");
    await context.hurt(context.harness.faults.kill);
    const late = await context.follow(context.service("late"));
    await late.until(
      "pending with the error",
      context.patienceMs,
      (snapshot) => snapshot.state === "pending" && snapshot.error !== undefined,
    );
    await context.pass(context.harness.settleMs);
    for (const snapshot of late.told) assertPending(snapshot, "while the registry could not be asked");
  },
};

function assertPending(snapshot: Snapshot, when: string): void {
  assert.equal(snapshot.state, "pending", `${when}, the state is ${describeSnapshot(snapshot)}`);
  assert.deepEqual(snapshot.instances, [], `${when}, there are instances`);
}

/** 2: a client that starts never works with half of the truth, and nobody can change what others see. */
export const firstSnapshotWhole: Rule = {
  number: 2,
  title: "gives a first snapshot that is complete, ordered and frozen",
  uses: [],
  async run(context) {
    const service = context.service();
    // In the right order, which differs from that of numbers (10 > 9), of locales (B > a) and of registration.
    const inOrder: readonly InstanceInit[] = [
      { service, id: "x", host: "10.0.0.10", port: 9000 },
      { service, id: "b", host: "10.0.0.9", port: 443 },
      { service, id: "a", host: "10.0.0.9", port: 80 },
      { service, id: "z", host: "10.0.0.9", port: 80 },
      { service, id: "c", host: "10.0.0.9", port: 8080 },
      { service, id: "d", host: "B.example", port: 80 },
      { service, id: "f", host: "a.example", port: 80 },
    ];
    const registries = [await context.open(), await context.open()] as const;
    for (const [index, init] of inOrder.toReversed().entries()) {
      await context.announce(init, registries[index % 2 === 0 ? 0 : 1]);
    }
    const first = await context.follow(service);
    await first.until("all instances", context.patienceMs, ({ instances }) => instances.length === inOrder.length);

    context.begin("a fresh client's first answer");
    const fresh = await context.follow(service);
    const snapshot = await fresh.firstAnswer(context.patienceMs);
    assert.equal(snapshot.state, "live");
    assert.deepEqual(
      snapshot.instances.map((instance) => `${address(instance)} ${instance.id}`),
      inOrder.map((init) => `${address(init)} ${init.id}`),
      "the first snapshot has all instances in the order of address, then id",
    );
    assert.ok(Object.isFrozen(snapshot), "the snapshot is frozen");
    assert.ok(Object.isFrozen(snapshot.instances), "its list of instances is frozen");
    for (const instance of snapshot.instances) {
      assert.equal(instance.service, service);
      for (const part of [instance, instance.tags, instance.metadata]) {
        assert.ok(Object.isFrozen(part), `instance ${instance.id} is frozen all the way down`);
      }
    }
  },
};

/** 3: registries wake their watchers for nothing; a client must not rebuild anything for that. */
export const equalSetsAreSilent: Rule = {
  number: 3,
  title: "notifies nobody of a set that is equal",
  uses: [],
  async run(context) {
    const service = context.service();
    const b = context.instance(service, "b");
    await context.announce(context.instance(service, "a"));
    await context.announce(b);
    const registry = await context.open();
    const follower = await context.follow(service, registry);
    await follower.until("both instances", context.patienceMs, ({ instances }) => instances.length === 2);
    await context.pass(context.harness.settleMs);
    const before = follower.instancer.snapshot;
    const told = follower.told.length;

    context.begin("writing the same record again");
    await context.announce(b);
    const elsewhere = await context.announce(context.instance(context.service("elsewhere"), "e"), registry);
    await elsewhere.deregister();
    await context.pass(2 * context.harness.settleMs);
    assert.deepEqual(
      follower.told.slice(told).map(describeSnapshot),
      [],
      `no notification after ${describeSnapshot(before)}`,
    );
    assert.equal(follower.instancer.snapshot, before, "the snapshot is the very same object");

    context.begin("a real change");
    await context.announce(context.instance(service, "c"));
    await follower.until("a real change", context.patienceMs, (snapshot) => has(snapshot, "c"));
  },
};

/** 4: statistics and clients are kept by id, so there is at most one instance with each. */
export const duplicatesCollapse: Rule = {
  number: 4,
  title: "collapses duplicate ids",
  uses: [abilities.seed, abilities.duplicates],
  async run(context) {
    const service = context.service();
    const neighbour = context.instance(service, "neighbour");
    await context.announce(neighbour);
    const follower = await context.follow(service);
    await context.announce(context.instance(service, "twice"));
    await context.announce(context.instance(service, "twice"));
    await follower.until("the id", context.patienceMs, (snapshot) => has(snapshot, "twice"));
    await context.pass(context.harness.settleMs);
    follower.told.forEach(assertUnique);
    await assertFreshView(context, service, ["neighbour", "twice"]);

    const seed = context.able(context.harness.seed);
    if (seed === undefined || context.able(context.harness.capabilities.holdsDuplicates) === undefined) return;
    context.begin("two records of one id");
    const seeded = context.service("seeded");
    const twice = context.instance(seeded, "twice");
    await seed([twice, { ...twice, weight: 2 }, context.instance(seeded, "neighbour")]);
    await assertFreshView(context, seeded, ["neighbour", "twice"]);

    context.begin("two records of one id at two addresses");
    const apart = context.service("apart");
    await seed([
      context.instance(apart, "twice"),
      context.instance(apart, "twice"),
      context.instance(apart, "neighbour"),
    ]);
    const fresh = await context.follow(apart);
    // Whether one of them wins or both get other ids is the backend's choice.
    await fresh.until("the neighbour", context.patienceMs, (snapshot) => has(snapshot, "neighbour"));
    await context.pass(context.harness.settleMs);
    fresh.told.forEach(assertUnique);
  },
};

/** Waits for both ids, and refuses a view in which one of them is there twice. */
async function assertFreshView(context: RuleContext, service: string, ids: readonly string[]): Promise<void> {
  const fresh = await context.follow(service);
  const snapshot = await fresh.until("both ids", context.patienceMs, (snapshot) =>
    ids.every((id) => has(snapshot, id)),
  );
  assert.deepEqual(idsOf(snapshot), ids, "each id is there once");
  fresh.told.forEach(assertUnique);
}

function assertUnique(snapshot: Snapshot): void {
  const ids = idsOf(snapshot);
  assert.equal(new Set(ids).size, ids.length, `an id is there twice: ${describeSnapshot(snapshot)}`);
}

/** 5: "there are none" is an answer. A client that knows fails at once instead of waiting for its deadline. */
export const emptyIsLive: Rule = {
  number: 5,
  title: "is live when there are none",
  uses: [],
  async run(context) {
    const isEmpty = (snapshot: Snapshot): boolean => snapshot.state === "live" && snapshot.instances.length === 0;
    const unknown = await context.follow(context.service("unknown"));
    await unknown.until("live and empty for a service nobody registered", context.patienceMs, isEmpty);

    const service = context.service();
    const registrar = await context.announce(context.instance(service, "only"));
    const follower = await context.follow(service);
    await follower.until("the only instance", context.patienceMs, (snapshot) => has(snapshot, "only"));
    await registrar.deregister();
    await follower.until("live and empty after the last instance left", context.patienceMs, isEmpty);
    for (const snapshot of [...unknown.told, ...follower.told]) {
      assert.equal(snapshot.state, "live", `nothing failed, and yet: ${describeSnapshot(snapshot)}`);
    }
  },
};

/** 6: what a server says of itself arrives at its clients as it was said. */
export const everyFieldRoundTrips: Rule = {
  number: 6,
  title: "carries weight, zone, tags, metadata and IPv6 addresses there and back",
  uses: [],
  async run(context) {
    const service = context.service();
    const inits: readonly InstanceInit[] = [
      {
        ...context.instance(service, "full"),
        weight: 7,
        zone: "eu-1b",
        tags: ["canary", "blue", "v=2", "grün"],
        metadata: { version: "1.2.3", empty: "", text: 'a "quoted" line: ✓ & <b>', "with-dash_and_1": "x".repeat(200) },
      },
      { ...context.instance(service, "ipv6"), host: "2001:db8::7", zone: "eu-1a" },
      { ...context.instance(service, "draining"), weight: 0 },
      { ...context.instance(service, "fraction"), weight: 2.5, tags: ["canary"] },
      context.instance(service, "plain"),
    ];
    const registry = await context.open();
    const sent = [];
    for (const init of inits) sent.push((await context.announce(init, registry)).instance);
    const follower = await context.follow(service);
    const { instances } = await follower.until(
      "all instances",
      context.patienceMs,
      (snapshot) => snapshot.instances.length === inits.length,
    );
    for (const instance of sent) {
      const found = instances.find(({ id }) => id === instance.id);
      // Without prototypes: only what was said counts.
      assert.deepEqual(structuredClone(found), structuredClone(instance), `instance ${instance.id}`);
    }

    context.begin("asking by tags");
    const tagged = await context.follow({ service, tags: ["blue", "canary"] });
    const answer = await tagged.until("the tagged one", context.patienceMs, (snapshot) => has(snapshot, "full"));
    assert.deepEqual(idsOf(answer), ["full"], "only what has all of the tags");
  },
};

import assert from "node:assert/strict";
import { describeSnapshot, type Follower, has, idsOf } from "../follower.ts";
import { abilities, type Rule } from "../rule.ts";
import type { RuleContext } from "../rule-context.ts";

/** 9: a registry that is down takes nobody with it. */
export const outagesKeepTheLastGoodSet: Rule = {
  number: 9,
  title: "is stale with the last good set while the registry is down, and heals alone",
  uses: [abilities.remember, abilities.hang],
  async run(context) {
    const { faults, capabilities, settleMs, noticeMs } = context.harness;
    const service = context.service();
    await context.announce(context.instance(service, "a"));
    await context.announce(context.instance(service, "b"));
    const follower = await context.follow(service);
    await follower.until("both instances", context.patienceMs, ({ instances }) => instances.length === 2);

    context.begin("killing the registry");
    const told = follower.told.length;
    await context.hurt(faults.kill);
    await assertStale(context, follower, context.patienceMs);
    const outages = follower.told.slice(told).filter(({ state }) => state !== "live");
    assert.equal(outages.length, 1, "an outage is told once, however long it lasts");
    context.begin("starting the registry");
    await faults.start();
    const healed = await follower.until("live again", context.repairMs, ({ state }) => state === "live");
    if (context.able(capabilities.remembersAfterRestart) === true) {
      assert.deepEqual(idsOf(healed), ["a", "b"], "what the registry remembers is complete at once");
    }
    await assertHealed(context, follower, service, ["a", "b"], "c");

    const hang = context.able(faults.hang);
    if (hang !== undefined) {
      context.begin("making the registry hang");
      await context.hurt(hang);
      await assertStale(context, follower, (noticeMs ?? context.patienceMs) + settleMs);
      context.begin("ending the hang");
      await faults.start();
      await assertHealed(context, follower, service, ["a", "b", "c"], "d");
    }

    for (const snapshot of follower.told.slice(told)) {
      assert.notEqual(snapshot.instances.length, 0, `a client was told of an empty set: ${describeSnapshot(snapshot)}`);
    }
  },
};

/** The state becomes stale with the present set, and stays so. */
async function assertStale(context: RuleContext, follower: Follower, withinMs: number): Promise<void> {
  const before = follower.instancer.snapshot;
  const stale = await follower.until("stale", withinMs, ({ state }) => state === "stale");
  await context.pass(context.harness.settleMs);
  const now = follower.instancer.snapshot;
  assert.equal(now.state, "stale", "stale until the registry is back");
  for (const snapshot of [stale, now]) {
    assert.deepEqual(idsOf(snapshot), idsOf(before), `the last good set: ${describeSnapshot(snapshot)}`);
    assert.ok("error" in snapshot && snapshot.error !== undefined, "it says what went wrong");
    assert.ok("staleSinceMs" in snapshot && Number.isFinite(snapshot.staleSinceMs), "it says since when");
  }
}

/** Nobody did anything, and it is as it was; and it is a watch that works: it sees a new instance too. */
async function assertHealed(
  context: RuleContext,
  follower: Follower,
  service: string,
  ids: readonly string[],
  added: string,
): Promise<void> {
  await follower.until(
    `live with ${ids.join(", ")} again`,
    context.repairMs,
    (snapshot) => snapshot.state === "live" && ids.every((id) => has(snapshot, id)),
  );
  await context.announce(context.instance(service, added));
  await follower.until(`${added}, registered afterwards`, context.repairMs, (snapshot) => has(snapshot, added));
}

/** 10: whoever lost his place begins anew; what he missed meanwhile does not stay missed. */
export const lostWatchesReadAgain: Rule = {
  number: 10,
  title: "reads everything again after a lost watch, an index reset or a compaction",
  uses: [abilities.wipe, abilities.loseWatch, abilities.seed],
  async run(context) {
    const { faults, seed: seeding } = context.harness;
    const seed = context.able(seeding);
    const wipe = context.able(faults.wipe);
    const loseWatch = context.able(faults.loseWatch);

    if (loseWatch !== undefined && seed !== undefined) {
      const service = context.service("lost");
      await context.announce(context.instance(service, "a"));
      const follower = await context.follow(service);
      await follower.until("the first instance", context.patienceMs, (snapshot) => has(snapshot, "a"));
      context.begin("losing the watch");
      await context.hurt(() => loseWatch(() => seed([context.instance(service, "missed")])));
      await follower.until("what was written meanwhile", context.repairMs, (snapshot) => has(snapshot, "missed"));
      await assertSameAsFresh(context, follower, service);
      await context.announce(context.instance(service, "later"));
      await follower.until("what was written afterwards", context.repairMs, (snapshot) => has(snapshot, "later"));
    }

    if (wipe !== undefined) {
      const service = context.service("wiped");
      await context.announce(context.instance(service, "a"));
      if (seed !== undefined) await seed([context.instance(service, "forgotten")]);
      const follower = await context.follow(service);
      await follower.until("the first set", context.patienceMs, ({ instances }) => {
        return instances.length === (seed === undefined ? 1 : 2);
      });
      context.begin("wiping the registry");
      await context.hurt(wipe);
      await context.announce(context.instance(service, "later"));
      await follower.until(
        "what was written after the loss, without what was lost",
        context.repairMs,
        (snapshot) => snapshot.state === "live" && has(snapshot, "later") && !has(snapshot, "forgotten"),
      );
      await assertSameAsFresh(context, follower, service);
    }
  },
};

/** The client that lived through it ends up with what one that starts now sees. */
async function assertSameAsFresh(context: RuleContext, follower: Follower, service: string): Promise<void> {
  const fresh = await context.follow(service);
  await fresh.firstAnswer(context.patienceMs);
  const same = (): boolean => idsOf(fresh.instancer.snapshot).join() === idsOf(follower.instancer.snapshot).join();
  // Both may still see the others come back, each at its own time.
  for (let waited = 0; !same() && waited < context.repairMs; waited += 20) await context.pass(20);
  assert.deepEqual(idsOf(follower.instancer.snapshot), idsOf(fresh.instancer.snapshot), "the same as a fresh client");
}

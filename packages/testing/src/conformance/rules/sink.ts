import assert from "node:assert/strict";
import { messageOf, type Registrar } from "@rollcall/core";
import { describeSnapshot, has } from "../follower.ts";
import { abilities, type Rule } from "../rule.ts";
import type { RuleContext } from "../rule-context.ts";

/** 15: whoever is told "registered" may send the first client its way. */
export const acceptedMeansVisible: Rule = {
  number: 15,
  title: "shows at once what it accepted",
  uses: [],
  async run(context) {
    for (let n = 0; n < 3; n++) {
      const service = context.service();
      const registry = await context.open();
      await context.announce(context.instance(service, "a"));
      const fresh = await context.follow(service, registry);
      const snapshot = await fresh.firstAnswer(context.patienceMs);
      assert.ok(has(snapshot, "a"), `accepted, and yet a fresh client sees ${describeSnapshot(snapshot)}`);
    }
  },
};

/** 16: a server that was not registered must be able to know. */
export const rejectionsReachTheCaller: Rule = {
  number: 16,
  title: "tells its caller of a rejection",
  uses: [abilities.refuse],
  async run(context) {
    const { faults, openRefused } = context.harness;
    const refused = context.able(openRefused);
    if (refused !== undefined) {
      context.begin("registering what the registry refuses");
      const registry = await context.openWith(refused);
      await assertRejected(context, registry.registrar(context.instance(context.service(), "a")));
    }
    const registry = await context.open();
    const registrar = registry.registrar(context.instance(context.service(), "a"));
    await context.hurt(faults.kill);
    context.begin("registering while the registry is down");
    await assertRejected(context, registrar);
  },
};

async function assertRejected(context: RuleContext, registrar: Registrar): Promise<void> {
  const outcome = await registrar.register().then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  assert.ok(outcome !== undefined, "register() resolved although nothing was registered");
  assert.notEqual(messageOf(outcome.error), "", "the error says something");
  assert.equal(registrar.registered, false, "it is not registered, and says so");
  context.begin("taking the wish back");
  await registrar.deregister();
}

/** 17: a registration lasts as long as its server, whatever happens to the registry's memory. */
export const registrationsAreKeptAlive: Rule = {
  number: 17,
  title: "keeps a registration alive, and brings it back to a registry that forgot it",
  uses: [abilities.wipe, abilities.forget],
  async run(context) {
    const { faults, expireMs, settleMs } = context.harness;
    const wipe = context.able(faults.wipe);
    const forget = context.able(faults.forget);

    const service = context.service();
    await context.announce(context.instance(service, "a"));
    const follower = await context.follow(service);
    await follower.until("the instance", context.patienceMs, (snapshot) => has(snapshot, "a"));
    const told = follower.told.length;
    context.begin("outliving the TTL");
    await context.pass(expireMs + settleMs);
    const without = follower.told.slice(told).filter((snapshot) => !has(snapshot, "a"));
    assert.deepEqual(without.map(describeSnapshot), [], "a renewed registration outlives its TTL");
    await assertThere(context, service, "still there for a fresh client");

    for (const [how, drop] of Object.entries(forget ?? {})) {
      context.begin(`dropping one record: ${how}`);
      await context.hurt(() => drop({ service, id: "a" }));
      await assertThere(context, service, `back after this: ${how}`);
    }
    if (wipe !== undefined) {
      context.begin("wiping the registry");
      await context.hurt(wipe);
      await assertThere(context, service, "back after the registry lost its data");
    }
  },
};

/** By a client that starts now: rule 10 is about those that lived through it. */
async function assertThere(context: RuleContext, service: string, what: string): Promise<void> {
  const fresh = await context.follow(service);
  await fresh.until(what, context.repairMs, (snapshot) => has(snapshot, "a"));
}

/** 18: gone is gone, and only what was one's own. */
export const deregisteringIsFinal: Rule = {
  number: 18,
  title: "deregisters idempotently, only its own, and for good",
  uses: [],
  async run(context) {
    const { settleMs, expireMs } = context.harness;
    const service = context.service();
    await context.announce(context.instance(service, "neighbour"));
    const own = context.instance(service, "own");
    const registrar = await context.announce(own);
    const follower = await context.follow(service);
    await follower.until("both instances", context.patienceMs, ({ instances }) => instances.length === 2);
    const told = follower.told.length;

    context.begin("deregistering twice");
    await registrar.deregister();
    await registrar.deregister();
    await assertGone(context, service);

    context.begin("deregistering what was never registered");
    const registry = await context.open();
    await registry.registrar(context.instance(service, "never")).deregister();

    context.begin("deregistering what another owner of the same id took away");
    const twins = [await context.announce(own), await context.announce(own)] as const;
    await Promise.all(twins.map((twin) => twin.deregister()));
    await assertGone(context, service);

    context.begin("deregistering while registering");
    const again = (await context.open()).registrar(own);
    const registering = again.register().catch(() => "cut short");
    await again.deregister();
    await registering;
    await assertGone(context, service);

    context.begin("waiting for a renewal that brings it back");
    const witness = await context.follow(service);
    await witness.until("it gone", context.patienceMs, (known) => has(known, "neighbour") && !has(known, "own"));
    const from = witness.told.length;
    // One renewal falls into this time for sure.
    await context.pass(expireMs / 2 + settleMs);
    const back = witness.told.slice(from).filter((snapshot) => has(snapshot, "own"));
    assert.deepEqual(back.map(describeSnapshot), [], "nothing brings it back");
    for (const snapshot of follower.told.slice(told)) {
      assert.ok(has(snapshot, "neighbour"), `only its own goes, and yet: ${describeSnapshot(snapshot)}`);
    }
    await assertGone(context, service);
  },
};

/** A fresh client sees the neighbour, and nothing else. */
async function assertGone(context: RuleContext, service: string): Promise<void> {
  const fresh = await context.follow(service);
  const snapshot = await fresh.until("the neighbour", context.patienceMs, (known) => has(known, "neighbour"));
  if (!has(snapshot, "own")) return;
  await fresh.until("the deregistered one gone", context.harness.settleMs, (known) => !has(known, "own"));
}

/** 19: whoever gave up waiting is told so, in his own words. */
export const abortsReject: Rule = {
  number: 19,
  title: "rejects an aborted call with the reason of its signal",
  uses: [abilities.hang],
  async run(context) {
    const { hang } = context.harness.faults;
    const registry = await context.open();
    const make = (): Registrar => registry.registrar(context.instance(context.service(), "a"));

    context.begin("registering with a signal that has aborted");
    const past = new Error("aborted before");
    await assertRejectsWith(make().register({ signal: AbortSignal.abort(past) }), past, "register()");

    context.begin("aborting a registration that is under way");
    await assertAborts((signal) => make().register({ signal }), "register()", 0);

    const hanging = context.able(hang);
    if (hanging === undefined) return;
    const registered = make();
    await registered.register();
    await context.hurt(hanging);
    context.begin("aborting calls that hang");
    await assertAborts((signal) => make().register({ signal }), "register() to a registry that hangs", 50);
    await assertAborts((signal) => registered.deregister({ signal }), "deregister() to a registry that hangs", 50);
  },
};

/** Aborts the call after a while (0: in the same turn of the event loop); it rejects with the very reason, and soon. */
async function assertAborts(
  call: (signal: AbortSignal) => Promise<void>,
  what: string,
  afterMs: number,
): Promise<void> {
  const controller = new AbortController();
  const reason = new Error(`enough of ${what}`);
  const result = call(controller.signal);
  if (afterMs > 0) {
    // Whatever it does before the abort is judged below; here it must not become an unhandled rejection.
    await Promise.race([result.catch(() => undefined), new Promise((resolve) => setTimeout(resolve, afterMs))]);
  }
  controller.abort(reason);
  await assertRejectsWith(result, reason, what);
}

async function assertRejectsWith(call: Promise<void>, reason: unknown, what: string): Promise<void> {
  const late = new Promise<"late">((resolve) => setTimeout(() => resolve("late"), 1_000));
  const outcome = await Promise.race([
    call.then(
      () => "resolved" as const,
      (error: unknown) => ({ error }),
    ),
    late,
  ]);
  if (outcome === "resolved" || outcome === "late") {
    assert.fail(
      `${what} ${outcome === "late" ? "went on for a second after the abort" : "resolved in spite of the abort"}`,
    );
  }
  assert.equal(outcome.error, reason, `${what} rejects with signal.reason itself`);
}

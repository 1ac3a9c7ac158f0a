import assert from "node:assert/strict";
import { type Closable, isDiscoveryError, type Registry } from "@rollcall/core";
import { follow, has } from "../follower.ts";
import { abilities, type Rule } from "../rule.ts";
import type { RuleContext } from "../rule-context.ts";

/** What a close may take. Nothing has to be written, and nobody has to be waited for. */
const CLOSE_MS = 100;
/** A busy machine may be late once, not three times. */
const TRIES = 3;

/** 11: a process that wants to end is not held up by a question it does not care for any more. */
export const closingIsPrompt: Rule = {
  number: 11,
  title: "closes in less than 100 ms during a parked poll, twice without harm, with silence after",
  uses: [abilities.hang],
  async run(context) {
    const service = context.service();
    await context.announce(context.instance(service, "a"));
    await assertPrompt(context, service, "closing an instancer", (parked) => parked.instancer);
    await assertPrompt(context, service, "closing a registry", (parked) => parked.registry);

    context.begin("silence after closing");
    const { registry, instancer, told } = await park(context, service);
    await instancer.close();
    await instancer.close();
    const before = told();
    await context.announce(context.instance(service, "b"));
    const witness = await context.follow(service, registry);
    await witness.until("the change, by somebody else", context.patienceMs, (snapshot) => has(snapshot, "b"));
    await context.pass(context.harness.settleMs);
    assert.equal(told(), before, "nobody is told of anything after the close");
    assertClosed(() => instancer.subscribe(() => undefined), "subscribing to a closed instancer");
    await registry.close();
    await registry.close();
    assertClosed(() => registry.instancer(service), "making an instancer of a closed registry");
    assertClosed(() => registry.registrar(context.instance(service, "c")), "making a registrar of a closed registry");

    const hang = context.able(context.harness.faults.hang);
    if (hang === undefined) return;
    const parked = [];
    for (let n = 0; n < TRIES; n++) parked.push(await park(context, service));
    await context.hurt(hang);
    await context.pass(context.harness.settleMs);
    const times = [];
    for (const { instancer: hanging } of parked) times.push(await timeOf(hanging));
    assertFast("closing an instancer while the registry hangs", times);
  },
};

/** A client of its own whose poll is parked: it has its answer, and nothing changes. */
async function park(context: RuleContext, service: string) {
  const registry: Registry = await context.open();
  const instancer = registry.instancer(service);
  const follower = follow(instancer);
  await follower.until("the instance", context.patienceMs, (snapshot) => has(snapshot, "a"));
  await context.pass(Math.min(context.harness.settleMs, 300));
  return { registry, instancer, told: () => follower.told.length };
}

async function assertPrompt(
  context: RuleContext,
  service: string,
  what: string,
  pick: (parked: { registry: Closable; instancer: Closable }) => Closable,
): Promise<void> {
  context.begin(what);
  const times: number[] = [];
  while (times.length < TRIES && Math.min(...times) >= CLOSE_MS)
    times.push(await timeOf(pick(await park(context, service))));
  assertFast(what, times);
}

function assertFast(what: string, times: readonly number[]): void {
  const all = times.map((ms) => `${ms.toFixed(0)} ms`).join(", ");
  assert.ok(Math.min(...times) < CLOSE_MS, `${what} takes less than ${CLOSE_MS} ms; it took ${all}`);
}

async function timeOf(closing: Closable): Promise<number> {
  const startedMs = performance.now();
  await closing.close();
  return performance.now() - startedMs;
}

function assertClosed(use: () => unknown, what: string): void {
  assert.throws(use, (error) => isDiscoveryError(error, "CLOSED"), `${what} throws ClosedError`);
}

/** 12: what was closed is gone, also when it had trouble at that moment. */
export const nothingIsLeftOpen: Rule = {
  number: 12,
  title: "leaves no handle open",
  uses: [],
  async run(context) {
    const { harness } = context;
    const before = harness.handles();
    const use = async (): Promise<readonly Registry[]> => {
      const service = context.service();
      const [reader, writer] = [await context.open(), await context.open()];
      await context.announce(context.instance(service, "a"), writer);
      const follower = await context.follow(service, reader);
      await follower.until("the instance", context.patienceMs, (snapshot) => has(snapshot, "a"));
      // A count that cannot rise would prove nothing.
      await eventually(context, () => harness.handles() > before, "the harness counts no handle of a registry in use");
      return [reader, writer];
    };

    const calm = await use();
    context.begin("closing while all is well");
    await Promise.all(calm.map((registry) => registry.close()));
    await assertNothingLeft(context, before, "after closing");

    const troubled = await use();
    await context.hurt(harness.faults.kill);
    await context.pass(harness.settleMs);
    context.begin("closing while the registry is down");
    await Promise.all(troubled.map((registry) => registry.close()));
    await assertNothingLeft(context, before, "after closing while the registry was down");
  },
};

async function assertNothingLeft(context: RuleContext, before: number, when: string): Promise<void> {
  const message = `${when}, there are more handles than before (${before})`;
  await eventually(context, () => context.harness.handles() <= before, message);
}

async function eventually(context: RuleContext, test: () => boolean, message: string): Promise<void> {
  for (let waited = 0; !test(); waited += 10) {
    assert.ok(waited < context.patienceMs, `${message}: ${context.harness.handles()}`);
    await context.pass(10);
  }
}

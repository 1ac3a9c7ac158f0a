import { getEventListeners } from "node:events";
import { type ScriptedSinkOptions, manualClock, scriptedSink } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { type Channel, channels } from "./channels.ts";
import { isDiscoveryError } from "./errors.ts";
import { createInstance } from "./instance.ts";
import { createRegistrar } from "./registrar.ts";
import type { Registration, Sink } from "./sink.ts";

const own = createInstance({ service: "lorem", host: "10.0.0.1", port: 80, id: "own" });
const down = new Error("registry is down");
const reason = new Error("enough");
const ignore = (): void => undefined;

/** A registrar on a manual clock whose dice always say 0.5: failures are followed by 250, 500, 1000, 1000, … ms. */
function setup(options: ScriptedSinkOptions = {}) {
  const clock = manualClock();
  const sink = scriptedSink(options);
  return { clock, sink, registrar: createRegistrar(own, sink, { env: clock.env }) };
}

/** The same, and registered. */
async function registered(options: ScriptedSinkOptions = { renewEveryMs: 1_000 }) {
  const all = setup(options);
  await all.registrar.register();
  return all;
}

/** How a promise ended, or that it has not. */
function watch(promise: Promise<unknown>): { state: string; error?: unknown } {
  const outcome: { state: string; error?: unknown } = { state: "pending" };
  promise.then(
    () => (outcome.state = "resolved"),
    (error: unknown) => Object.assign(outcome, { state: "rejected", error }),
  );
  return outcome;
}

/** What a channel says from now on, and the function that stops listening. */
function hear<M>(channel: Channel<M>): [M[], () => void] {
  const messages: M[] = [];
  return [messages, channel.subscribe((message) => messages.push(message))];
}

/** The sink's calls that were of these operations, in short. */
const count = (operations: readonly string[], which: string): number =>
  operations.filter((operation) => operation === which).length;

/**
 * A registry that does what it is told but does not heed its signals: each call takes effect and is answered when the
 * test says so. Removing deletes only what that very registration wrote, if it says `onlyOwn`.
 */
function stubbornSink(onlyOwn = true) {
  const calls: {
    readonly operation: string;
    readonly signal: AbortSignal;
    answered: boolean;
    answer(error?: unknown): void;
  }[] = [];
  let holder: symbol | undefined;
  const call = (operation: string, signal: AbortSignal, effect: () => void): Promise<void> =>
    new Promise((resolve, reject) => {
      const entry = {
        operation,
        signal,
        answered: false,
        answer(error?: unknown): void {
          entry.answered = true;
          if (error !== undefined) return reject(error);
          effect();
          resolve();
        },
      };
      calls.push(entry);
    });
  const sink: Sink = {
    name: "stubborn",
    async register(_instance, signal): Promise<Registration> {
      const token = Symbol("registration");
      await call("register", signal, () => (holder = token));
      return {
        renewEveryMs: 1_000,
        renew: (inner) =>
          call("renew", inner, () => {
            // Some registries write the record with each heartbeat.
            holder = token;
          }),
        remove: (inner) =>
          call("remove", inner, () => {
            if (!onlyOwn || holder === token) holder = undefined;
          }),
      };
    },
  };
  return {
    sink,
    calls,
    get present() {
      return holder !== undefined;
    },
    get operations() {
      return calls.map((each) => each.operation);
    },
  };
}

/** A registrar over a stubborn sink. */
function stubborn(onlyOwn?: boolean) {
  const clock = manualClock();
  const store = stubbornSink(onlyOwn);
  const registrar = createRegistrar(own, store.sink, { env: clock.env });
  /** Answers the call with this number, however long ago its time was over. */
  const answer = async (index: number, error?: unknown): Promise<void> => {
    await clock.advance(0);
    store.calls[index]?.answer(error);
    await clock.advance(0);
  };
  /** Lets time pass, in which all calls are answered that are still waited for. */
  const settle = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 50) {
      for (const call of store.calls) if (!call.answered && !call.signal.aborted) call.answer();
      await clock.advance(50);
    }
  };
  return { clock, store, registrar, answer, settle };
}

describe("register", () => {
  it("is not called by itself: nothing is written before", async () => {
    const { clock, sink, registrar } = setup();
    await clock.advance(60_000);
    expect([sink.operations, clock.pending, registrar.registered]).toEqual([[], 0, false]);
    expect(registrar.instance).toBe(own);
  });

  it("resolves when the instance is in the registry", async () => {
    const { clock, sink, registrar } = setup();
    sink.hang("register");
    const registering = watch(registrar.register());
    await clock.advance(100);
    expect([registering.state, registrar.registered]).toEqual(["pending", false]);
    sink.accept();
    await clock.advance(0);
    expect([registering.state, registrar.registered]).toEqual(["resolved", true]);
    expect(sink.registered.get("own")).toBe(own);
    expect(clock.pending).toBe(0);
  });

  it("resolves at once if it is registered already, and writes nothing", async () => {
    const { sink, registrar } = await registered();
    await registrar.register();
    await Promise.all([registrar.register(), registrar.register({ signal: new AbortController().signal })]);
    expect(sink.operations).toEqual(["register"]);
  });

  it("resolves at once if it is registered already, whatever is under way", async () => {
    const { clock, sink, registrar } = await registered({ renewEveryMs: 60_000 });
    sink.hang("renew");
    await clock.advance(60_100);
    const again = watch(registrar.register());
    await clock.advance(0);
    expect(again.state).toBe("resolved");
  });

  it("writes once for concurrent calls", async () => {
    const { sink, registrar } = setup();
    await Promise.all([registrar.register(), registrar.register(), registrar.register()]);
    expect(sink.operations).toEqual(["register"]);
  });

  it("tells the channel", async () => {
    const [messages, stop] = hear(channels.registered);
    await registered();
    stop();
    expect(messages).toEqual([{ sink: "scripted", instance: own }]);
  });

  it("rejects with the first error, and goes on in the background until it succeeds", async () => {
    const [failures, stop] = hear(channels.registrarFailed);
    const { clock, sink, registrar } = setup();
    sink.reject("register", down, 4);
    await expect(registrar.register()).rejects.toBe(down);
    expect([registrar.registered, clock.pending]).toEqual([false, 1]);
    await clock.advance(250 + 500 + 1_000 - 1);
    expect(count(sink.operations, "register")).toBe(3);
    await clock.advance(1 + 1_000);
    stop();
    expect([count(sink.operations, "register"), registrar.registered, clock.pending]).toEqual([5, true, 0]);
    expect(failures).toHaveLength(4);
    expect(failures[0]).toStrictEqual({ sink: "scripted", instance: own, operation: "register", error: down });
  });

  it("tries at least every two seconds, however long the outage", async () => {
    const clock = manualClock({ random: () => 1 - Number.EPSILON });
    const sink = scriptedSink();
    sink.reject("register", down);
    await createRegistrar(own, sink, { env: clock.env }).register().catch(ignore);
    await clock.advance(600_000);
    expect(sink.calls.length).toBeGreaterThanOrEqual(300);
  });

  it("may be left alone when it fails: that is no unhandled rejection", async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", onUnhandled);
    const { clock, sink, registrar } = setup();
    sink.reject("register", down, 1);
    void registrar.register();
    await clock.advance(300);
    process.off("unhandledRejection", onUnhandled);
    expect(unhandled).toEqual([]);
    expect(registrar.registered).toBe(true);
  });

  it("called again while it is tried in the background tries at once", async () => {
    const { clock, sink, registrar } = setup();
    sink.reject("register", down, 1);
    await registrar.register().catch(ignore);
    await registrar.register();
    expect([registrar.registered, clock.pending, sink.operations.length]).toEqual([true, 0, 2]);
  });

  it.each<[string, Sink["register"]]>([
    [
      "throws synchronously",
      () => {
        throw down;
      },
    ],
    ["rejects", () => Promise.reject(down)],
  ])("survives a sink that %s", async (_what, register) => {
    const clock = manualClock();
    const registrar = createRegistrar(own, { name: "bad", register }, { env: clock.env });
    await expect(registrar.register()).rejects.toBe(down);
    await clock.advance(10_000);
    expect(registrar.registered).toBe(false);
    await registrar.close();
    expect(clock.pending).toBe(0);
  });

  it("takes a sink that accepts with no registration for one that failed", async () => {
    const clock = manualClock();
    const register = async (): Promise<Registration> => undefined as unknown as Registration;
    const registrar = createRegistrar(own, { name: "bad", register }, { env: clock.env });
    await expect(registrar.register()).rejects.toBeInstanceOf(TypeError);
    expect(registrar.registered).toBe(false);
    await registrar.close();
    expect(clock.pending).toBe(0);
  });

  it.each([0, -1, Number.NaN])("takes one to be renewed every %s ms for one that failed", async (renewEveryMs) => {
    const clock = manualClock();
    const nothing = async (): Promise<void> => undefined;
    const register = async (): Promise<Registration> => ({ renewEveryMs, renew: nothing, remove: nothing });
    const registrar = createRegistrar(own, { name: "bad", register }, { env: clock.env });
    await expect(registrar.register()).rejects.toThrow(`bad wants to be renewed every ${renewEveryMs} ms`);
    expect(registrar.registered).toBe(false);
    await registrar.close();
    expect(clock.pending).toBe(0);
  });

  it("gives up a try that hangs after five seconds, tells the sink so, and tries again", async () => {
    const { clock, sink, registrar } = setup();
    sink.hang("register");
    const registering = watch(registrar.register());
    await clock.advance(4_999);
    expect([registering.state, clock.keptAlive]).toEqual(["pending", 1]);
    await clock.advance(1);
    expect(registering.state).toBe("rejected");
    expect(isDiscoveryError(registering.error, "TIMEOUT")).toBe(true);
    expect(sink.calls[0]?.signal.aborted).toBe(true);
    sink.accept();
    await clock.advance(250);
    expect([registrar.registered, clock.pending]).toEqual([true, 0]);
  });

  it("keeps the process alive only while somebody awaits it", async () => {
    const { clock, sink, registrar } = setup({ renewEveryMs: 1_000 });
    sink.hang("register");
    void registrar.register().catch(ignore);
    await clock.advance(0);
    expect(clock.keptAlive).toBe(1);
    await clock.advance(5_000 + 250);
    expect([clock.pending, clock.keptAlive]).toEqual([1, 0]);
    const joined = watch(registrar.register());
    await clock.advance(0);
    expect([joined.state, clock.keptAlive]).toEqual(["pending", 1]);
    sink.accept();
    await clock.advance(0);
    expect([joined.state, clock.pending, clock.keptAlive]).toEqual(["resolved", 1, 0]);
  });
});

describe("aborting register", () => {
  it("before it begins calls nothing", async () => {
    const { clock, sink, registrar } = setup();
    await expect(registrar.register({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await clock.advance(60_000);
    expect([sink.operations, clock.pending, registrar.registered]).toEqual([[], 0, false]);
  });

  it("in mid-flight rejects at once with the reason, tells the sink, and nothing is tried any more", async () => {
    const { clock, sink, registrar } = setup();
    sink.hang("register");
    const controller = new AbortController();
    const registering = registrar.register({ signal: controller.signal });
    await clock.advance(100);
    controller.abort(reason);
    await expect(registering).rejects.toBe(reason);
    expect(sink.calls[0]?.signal.reason).toBe(reason);
    sink.accept();
    await clock.advance(60_000);
    expect([sink.operations, sink.registered.size, registrar.registered]).toEqual([["register"], 0, false]);
    expect([clock.pending, getEventListeners(controller.signal, "abort").length]).toEqual([0, 0]);
  });

  it("before it begins rejects also if it is registered already, and changes nothing", async () => {
    const { clock, registrar } = await registered();
    await expect(registrar.register({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await clock.advance(60_000);
    expect(registrar.registered).toBe(true);
  });

  it("is no failure of the registry: nothing is reported", async () => {
    const [failures, stop] = hear(channels.registrarFailed);
    const { clock, sink, registrar } = setup();
    sink.hang("register");
    const controller = new AbortController();
    const calls = [watch(registrar.register({ signal: controller.signal })), watch(registrar.register())];
    await clock.advance(100);
    controller.abort(reason);
    sink.accept();
    await clock.advance(100);
    stop();
    expect(calls.map((call) => call.state)).toEqual(["rejected", "resolved"]);
    expect(failures).toEqual([]);
  });

  it("takes back what the sink accepts too late", async () => {
    const { clock, store, registrar, answer, settle } = stubborn();
    const controller = new AbortController();
    const registering = registrar.register({ signal: controller.signal });
    await clock.advance(100);
    controller.abort(reason);
    await expect(registering).rejects.toBe(reason);
    await clock.advance(9_000);
    await answer(0);
    await settle(1_000);
    expect([store.operations, store.present, registrar.registered]).toEqual([["register", "remove"], false, false]);
    expect(clock.pending).toBe(0);
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 8, 10, 15])(
    "%d microtasks after the sink's answer either comes too late, or leaves nothing behind",
    async (hops) => {
      const { clock, sink, registrar } = setup({ renewEveryMs: 1_000 });
      sink.hang("register");
      const controller = new AbortController();
      const registering = watch(registrar.register({ signal: controller.signal }));
      await clock.advance(100);
      sink.accept();
      for (let hop = 0; hop < hops; hop++) await Promise.resolve();
      controller.abort(reason);
      await clock.advance(10);
      if (registering.state === "resolved") {
        expect([registrar.registered, sink.registered.size]).toEqual([true, 1]);
      } else {
        expect(registering.error).toBe(reason);
        expect([registrar.registered, sink.registered.size, clock.pending]).toEqual([false, 0, 0]);
      }
    },
  );

  it("after it resolved or rejected changes nothing: no listener stays on the signal", async () => {
    const controller = new AbortController();
    const { clock, sink, registrar } = setup();
    sink.reject("register", down, 1);
    await registrar.register({ signal: controller.signal }).catch(ignore);
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
    controller.abort(reason);
    await clock.advance(250);
    expect(registrar.registered).toBe(true);
  });

  it("of one of two calls leaves the other its wish", async () => {
    const { clock, sink, registrar } = setup();
    sink.hang("register");
    const controller = new AbortController();
    const [first, second] = [
      watch(registrar.register({ signal: controller.signal })),
      watch(registrar.register({ signal: new AbortController().signal })),
    ];
    await clock.advance(100);
    controller.abort(reason);
    await clock.advance(0);
    expect([first.state, second.state]).toEqual(["rejected", "pending"]);
    sink.accept();
    await clock.advance(0);
    expect([second.state, registrar.registered]).toEqual(["resolved", true]);
  });

  it("of the second of two calls leaves the first its wish", async () => {
    const { clock, sink, registrar } = setup();
    sink.hang("register");
    const controller = new AbortController();
    const first = watch(registrar.register());
    const second = watch(registrar.register({ signal: controller.signal }));
    controller.abort(reason);
    await clock.advance(0);
    expect([first.state, second.error]).toEqual(["pending", reason]);
    sink.accept();
    await clock.advance(0);
    expect([first.state, registrar.registered]).toEqual(["resolved", true]);
  });

  it("while a repair is under way leaves the repair alone: it was registered, and still should be", async () => {
    const { clock, sink, registrar } = setup({ renewEveryMs: 1_000 });
    await registrar.register();
    sink.reject("renew", down, 1);
    sink.hang("register");
    await clock.advance(1_000);
    const controller = new AbortController();
    const joining = watch(registrar.register({ signal: controller.signal }));
    await clock.advance(600);
    controller.abort(reason);
    await clock.advance(0);
    expect([joining.error, sink.operations.at(-1), sink.calls.at(-1)?.signal.aborted]).toEqual([
      reason,
      "register",
      false,
    ]);
    sink.accept();
    await clock.advance(0);
    expect([registrar.registered, sink.registered.size]).toEqual([true, 1]);
  });

  it("of all calls takes the wish back", async () => {
    const { clock, sink, registrar } = setup();
    sink.hang("register");
    const controllers = [new AbortController(), new AbortController()];
    const calls = controllers.map(({ signal }) => watch(registrar.register({ signal })));
    for (const controller of controllers) {
      controller.abort(reason);
      await clock.advance(0);
    }
    expect(calls.map((call) => call.state)).toEqual(["rejected", "rejected"]);
    sink.accept();
    await clock.advance(60_000);
    expect([sink.registered.size, clock.pending]).toEqual([0, 0]);
  });

  it("does not take back the wish of an earlier call that is tried in the background", async () => {
    const { clock, sink, registrar } = setup();
    sink.reject("register", down, 1);
    await registrar.register().catch(ignore);
    sink.hang("register");
    const again = registrar.register({ signal: AbortSignal.timeout(1) });
    await expect(again).rejects.toMatchObject({ name: "TimeoutError" });
    sink.accept();
    await clock.advance(2_000);
    expect([registrar.registered, sink.registered.size]).toEqual([true, 1]);
  });

  it("does not end the repair of a registration that was lost", async () => {
    const { clock, sink, registrar } = await registered();
    sink.forget();
    sink.hang("register");
    await clock.advance(1_000);
    expect(registrar.registered).toBe(false);
    const controller = new AbortController();
    const waiting = registrar.register({ signal: controller.signal });
    await clock.advance(10);
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    sink.accept();
    await clock.advance(2_000);
    expect([registrar.registered, sink.registered.size]).toEqual([true, 1]);
  });

  it("leaves it free to be registered again", async () => {
    const { clock, sink, registrar } = setup();
    sink.hang("register");
    const controller = new AbortController();
    void registrar.register({ signal: controller.signal });
    await clock.advance(10);
    controller.abort(reason);
    sink.accept();
    await registrar.register();
    await clock.advance(60_000);
    expect([registrar.registered, sink.registered.size]).toEqual([true, 1]);
  });
});

describe("renewing", () => {
  it("happens as often as the registration asks, without keeping the process alive", async () => {
    const { clock, sink } = await registered({ renewEveryMs: 1_000 });
    expect([clock.pending, clock.keptAlive]).toEqual([1, 0]);
    await clock.advance(999);
    expect(count(sink.operations, "renew")).toBe(0);
    await clock.advance(9_001);
    expect(count(sink.operations, "renew")).toBe(10);
  });

  it("does not happen when the registration does not ask for it", async () => {
    const { clock, sink } = await registered({});
    await clock.advance(600_000);
    expect([sink.operations, clock.pending]).toEqual([["register"], 0]);
  });

  it.each<[string, Partial<Registration>]>([
    ["has no interval", { renew: async () => undefined }],
    ["has no renew", { renewEveryMs: 1_000 }],
  ])("does not happen when the registration %s", async (_what, parts) => {
    const clock = manualClock();
    const sink: Sink = { name: "half", register: async () => ({ ...parts, remove: async () => undefined }) };
    const registrar = createRegistrar(own, sink, { env: clock.env });
    await registrar.register();
    await clock.advance(60_000);
    expect([registrar.registered, clock.pending]).toEqual([true, 0]);
  });

  it("that fails is followed by writing again until that succeeds, and by renewing then", async () => {
    const [failures, stop] = hear(channels.registrarFailed);
    const { clock, sink, registrar } = await registered({ renewEveryMs: 1_000 });
    sink.forget();
    sink.reject("register", down, 2);
    await clock.advance(1_000);
    expect([registrar.registered, clock.keptAlive]).toEqual([false, 0]);
    await clock.advance(250 + 500 + 1_000);
    stop();
    expect(sink.operations).toEqual(["register", "renew", "register", "register", "register"]);
    expect([registrar.registered, sink.registered.size]).toEqual([true, 1]);
    expect(failures.map((failure) => failure.operation)).toEqual(["renew", "register", "register"]);
    await clock.advance(1_000);
    expect(sink.operations.at(-1)).toBe("renew");
    expect(clock.pending).toBe(1);
  });

  it("starts the back-off anew after each success", async () => {
    const { clock, sink, registrar } = await registered({ renewEveryMs: 1_000 });
    for (let loss = 0; loss < 5; loss++) {
      sink.forget();
      await clock.advance(1_000);
      expect(registrar.registered).toBe(false);
      await clock.advance(250);
      expect(registrar.registered).toBe(true);
    }
  });

  it("that throws synchronously counts as failed", async () => {
    const clock = manualClock();
    let registrations = 0;
    const sink: Sink = {
      name: "sore",
      register: async () => ({
        renewEveryMs: registrations++ === 0 ? 1_000 : 1e9,
        renew() {
          throw down;
        },
        remove: async () => undefined,
      }),
    };
    const registrar = createRegistrar(own, sink, { env: clock.env });
    await registrar.register();
    await clock.advance(1_250);
    expect([registrations, registrar.registered]).toEqual([2, true]);
  });

  it("that hangs is given up after its own interval, at most five seconds, and counts as failed", async () => {
    for (const [renewEveryMs, limitMs] of [
      [1_000, 1_000],
      [60_000, 5_000],
    ] as const) {
      const { clock, sink, registrar } = await registered({ renewEveryMs });
      sink.hang("renew");
      await clock.advance(renewEveryMs + limitMs - 1);
      expect([registrar.registered, clock.keptAlive]).toEqual([true, 0]);
      await clock.advance(1);
      expect([registrar.registered, sink.calls[1]?.signal.aborted]).toEqual([false, true]);
      sink.accept();
      await clock.advance(250);
      expect(registrar.registered).toBe(true);
    }
  });

  it("holds one timer, however long", async () => {
    const { clock } = await registered({ renewEveryMs: 10 });
    for (let round = 0; round < 500; round++) {
      await clock.runNext();
      expect(clock.pending).toBe(1);
    }
  });
});

describe("deregister", () => {
  it("removes the instance, ends the renewals, and tells the channel", async () => {
    const [messages, stop] = hear(channels.deregistered);
    const { clock, sink, registrar } = await registered();
    await registrar.deregister();
    stop();
    expect([sink.registered.size, registrar.registered, clock.pending]).toEqual([0, false, 0]);
    expect(messages).toEqual([{ sink: "scripted", instance: own }]);
    await clock.advance(60_000);
    expect(sink.operations).toEqual(["register", "remove"]);
  });

  it("is idempotent: before, twice, and concurrently", async () => {
    const { clock, sink, registrar } = setup();
    await registrar.deregister();
    expect(sink.operations).toEqual([]);
    await registrar.register();
    await Promise.all([registrar.deregister(), registrar.deregister(), registrar.deregister()]);
    await registrar.deregister();
    expect([sink.operations, clock.pending]).toEqual([["register", "remove"], 0]);
  });

  it("leaves it free to be registered again", async () => {
    const { clock, sink, registrar } = await registered();
    for (let round = 0; round < 3; round++) {
      await registrar.deregister();
      await registrar.register();
    }
    await clock.advance(1_000);
    expect(registrar.registered).toBe(true);
    expect(sink.operations.slice(-2)).toEqual(["register", "renew"]);
  });

  it("ends trying in the background", async () => {
    const { clock, sink, registrar } = setup();
    sink.reject("register", down);
    await registrar.register().catch(ignore);
    await registrar.deregister();
    expect(clock.pending).toBe(0);
    sink.accept();
    await clock.advance(60_000);
    expect(sink.operations).toEqual(["register"]);
  });

  it("ends the repair of a registration that was lost, and removes what may still be there", async () => {
    const { clock, sink, registrar } = await registered();
    sink.reject("renew", down);
    sink.reject("register", down);
    await clock.advance(1_000);
    await registrar.deregister();
    expect([sink.operations.at(-1), sink.registered.size, clock.pending]).toEqual(["remove", 0, 0]);
  });

  it("lets a write that is under way end by itself, then removes what it made", async () => {
    const { clock, sink, registrar } = setup();
    sink.hang("register");
    const registering = watch(registrar.register());
    await clock.advance(1);
    const deregistering = watch(registrar.deregister());
    await clock.advance(400);
    expect(sink.calls[0]?.signal.aborted).toBe(false);
    sink.accept();
    await clock.advance(0);
    expect([registering.state, deregistering.state]).toEqual(["resolved", "resolved"]);
    expect([sink.operations, sink.registered.size, clock.pending]).toEqual([["register", "remove"], 0, 0]);
    expect(registrar.registered).toBe(false);
  });

  it("cuts a write short that hangs, after half a second", async () => {
    const messages: unknown[] = [];
    const stops = [channels.registrarFailed, channels.deregistered].map((channel) =>
      channel.subscribe((message) => messages.push(message)),
    );
    const stop = (): void => {
      for (const each of stops) each();
    };
    const { clock, sink, registrar } = setup();
    sink.hang("register");
    const registering = watch(registrar.register());
    await clock.advance(1);
    const deregistering = watch(registrar.deregister());
    await clock.advance(499);
    expect([deregistering.state, clock.keptAlive]).toEqual(["pending", 2]);
    await clock.advance(1);
    expect([registering.state, deregistering.state]).toEqual(["rejected", "resolved"]);
    expect(isDiscoveryError(registering.error, "CLOSED")).toBe(true);
    await clock.advance(60_000);
    stop();
    expect([sink.operations, clock.pending]).toEqual([["register"], 0]);
    // It was our own doing, and nothing had to be removed.
    expect(messages).toEqual([]);
  });

  it("lets a renewal that is under way end first; it does not go on afterwards", async () => {
    const { clock, sink, registrar } = await registered({ renewEveryMs: 1_000 });
    sink.hang("renew");
    await clock.advance(1_100);
    const deregistering = watch(registrar.deregister());
    await clock.advance(100);
    sink.accept();
    await clock.advance(0);
    expect([deregistering.state, clock.pending]).toEqual(["resolved", 0]);
    await clock.advance(60_000);
    expect(sink.operations).toEqual(["register", "renew", "remove"]);
    expect(clock.pending).toBe(0);
  });

  it("cuts a renewal short that hangs", async () => {
    const { clock, sink, registrar } = await registered({ renewEveryMs: 1_000 });
    sink.hang("renew");
    await clock.advance(1_100);
    const deregistering = watch(registrar.deregister());
    await clock.advance(500);
    expect(deregistering.state).toBe("resolved");
    await clock.advance(60_000);
    expect([sink.operations, sink.registered.size]).toEqual([["register", "renew", "remove"], 0]);
  });

  it("followed by register in the same turn means that it is wanted", async () => {
    const { clock, sink, registrar } = await registered();
    const deregistering = watch(registrar.deregister());
    await registrar.register();
    await clock.advance(0);
    expect([deregistering.state, registrar.registered, sink.registered.size]).toEqual(["resolved", true, 1]);
    await clock.advance(10_000);
    expect([registrar.registered, sink.registered.size, clock.pending]).toEqual([true, 1, 1]);
  });

  it("rejects if the registry refuses, reports it, and can be tried again", async () => {
    const [failures, stop] = hear(channels.registrarFailed);
    const { clock, sink, registrar } = await registered();
    sink.reject("remove", down, 1);
    await expect(registrar.deregister()).rejects.toBe(down);
    stop();
    expect(failures).toEqual([{ sink: "scripted", instance: own, operation: "deregister", error: down }]);
    expect([registrar.registered, clock.pending]).toEqual([false, 0]);
    await registrar.deregister();
    expect(sink.registered.size).toBe(0);
  });

  it("survives a sink that throws synchronously", async () => {
    const clock = manualClock();
    const remove = (): never => {
      throw down;
    };
    const registrar = createRegistrar(own, { name: "bad", register: async () => ({ remove }) }, { env: clock.env });
    await registrar.register();
    await expect(registrar.deregister()).rejects.toBe(down);
    expect(clock.pending).toBe(0);
  });

  it("rejects after two seconds if the registry does not answer, and keeps the process alive until then", async () => {
    const { clock, sink, registrar } = await registered();
    sink.hang("remove");
    const deregistering = watch(registrar.deregister());
    await clock.advance(1_999);
    expect([deregistering.state, clock.keptAlive]).toEqual(["pending", 1]);
    await clock.advance(1);
    expect(isDiscoveryError(deregistering.error, "TIMEOUT")).toBe(true);
    expect(clock.pending).toBe(0);
  });

  it("takes no more than two seconds in all, also if a write was in its way", async () => {
    const { clock, sink, registrar } = await registered();
    sink.hang("renew");
    sink.hang("remove");
    await clock.advance(1_100);
    const deregistering = watch(registrar.deregister());
    await clock.advance(2_000);
    expect(deregistering.state).toBe("rejected");
    expect(clock.pending).toBe(0);
  });

  it("is not cut short by a second call: both wait for the one removal", async () => {
    const { clock, sink, registrar } = await registered();
    sink.hang("remove");
    const calls = [watch(registrar.deregister())];
    await clock.advance(100);
    calls.push(watch(registrar.deregister()), watch(registrar.close()));
    await clock.advance(1_400);
    expect(calls.map((call) => call.state)).toEqual(["pending", "pending", "pending"]);
    sink.accept();
    await clock.advance(0);
    expect(calls.map((call) => call.state)).toEqual(["resolved", "resolved", "resolved"]);
    expect(sink.operations).toEqual(["register", "remove"]);
  });

  it("with an aborted signal changes nothing", async () => {
    const { clock, sink, registrar } = await registered();
    await expect(registrar.deregister({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await clock.advance(1_000);
    expect([registrar.registered, sink.operations]).toEqual([true, ["register", "renew"]]);
  });

  it("aborted in mid-flight rejects at once with the reason, and can be tried again", async () => {
    const { clock, sink, registrar } = await registered();
    sink.hang("remove");
    const controller = new AbortController();
    const deregistering = registrar.deregister({ signal: controller.signal });
    await clock.advance(100);
    controller.abort(reason);
    await expect(deregistering).rejects.toBe(reason);
    await clock.advance(0);
    expect([sink.calls.at(-1)?.signal.reason, clock.pending]).toEqual([reason, 0]);
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
    await clock.advance(60_000);
    expect(sink.operations).toEqual(["register", "remove"]);
    sink.accept();
    await registrar.deregister();
    expect(sink.registered.size).toBe(0);
  });

  it("leaves no timer if whoever hears of a failure deregisters in the same turn", async () => {
    const { clock, sink, registrar } = setup();
    const stop = channels.registrarFailed.subscribe(() => void registrar.close());
    sink.reject("register", down);
    await registrar.register().catch(ignore);
    stop();
    expect(clock.pending).toBe(0);
    expect(sink.operations).toEqual(["register"]);
  });

  it("asked for by whoever hears of the registration wins", async () => {
    const { clock, sink, registrar } = setup({ renewEveryMs: 1_000 });
    const stop = channels.registered.subscribe(() => void registrar.deregister());
    await registrar.register();
    stop();
    await clock.advance(60_000);
    expect([sink.operations, sink.registered.size, clock.pending]).toEqual([["register", "remove"], 0, 0]);
  });
});

describe("answers that come too late", () => {
  it("to a write: it is removed if it is not wanted any more", async () => {
    const { clock, store, registrar, answer, settle } = stubborn();
    void registrar.register();
    await clock.advance(100);
    const deregistering = watch(registrar.deregister());
    await clock.advance(500);
    expect(deregistering.state).toBe("resolved");
    await clock.advance(10_000);
    await answer(0);
    expect(store.present).toBe(true);
    await settle(100);
    expect([store.operations, store.present, clock.pending]).toEqual([["register", "remove"], false, 0]);
  });

  it("to a write that replaced a lost one: the late one is removed, not only the first", async () => {
    const { clock, store, registrar, answer, settle } = stubborn();
    const registering = registrar.register();
    await answer(0);
    await registering;
    await clock.advance(1_000);
    await answer(1, down); // the renewal: lost
    await clock.advance(250); // written again, and no answer comes
    expect(store.operations).toEqual(["register", "renew", "register"]);
    await clock.advance(5_000); // given up
    const deregistering = watch(registrar.deregister());
    await settle(200);
    expect([deregistering.state, store.present]).toEqual(["resolved", false]);
    await answer(2);
    await settle(200);
    expect([store.present, clock.pending]).toEqual([false, 0]);
  });

  it("to a write that was repeated meanwhile: one of them all is the registered one, and is renewed", async () => {
    const { clock, store, registrar, answer, settle } = stubborn();
    void registrar.register();
    await clock.advance(5_000 + 250);
    expect(store.operations).toEqual(["register", "register"]);
    await answer(1);
    expect(registrar.registered).toBe(true);
    await answer(0);
    await settle(500);
    // The late one has replaced the record that is renewed, so it has to be written once more.
    expect(store.operations).toEqual(["register", "register", "register"]);
    expect([store.present, registrar.registered]).toEqual([true, true]);
    const deregistering = watch(registrar.deregister());
    await settle(500);
    expect([deregistering.state, store.present, clock.pending]).toEqual(["resolved", false, 0]);
  });

  it("while it is being repeated: which of the two came last is unknown, so it is written once more", async () => {
    const { clock, store, registrar, answer, settle } = stubborn();
    void registrar.register();
    await clock.advance(5_000 + 250);
    await answer(0);
    expect(registrar.registered).toBe(false);
    await answer(1);
    expect(registrar.registered).toBe(true);
    await settle(500);
    expect(store.operations).toEqual(["register", "register", "register"]);
    await settle(2_000);
    expect(store.operations.slice(3)).toEqual(["renew", "renew"]);
  });

  it("to a removal: what was registered again meanwhile is written once more", async () => {
    const { clock, store, registrar, answer, settle } = stubborn(false);
    const registering = registrar.register();
    await answer(0);
    await registering;
    const deregistering = watch(registrar.deregister());
    await clock.advance(2_000);
    expect(deregistering.state).toBe("rejected");
    const again = registrar.register();
    await clock.advance(0);
    await answer(2);
    await again;
    expect(store.operations).toEqual(["register", "remove", "register"]);
    await answer(1);
    expect(store.present).toBe(false);
    await settle(500);
    expect([store.present, registrar.registered]).toEqual([true, true]);
  });

  it("to a renewal that writes: it is removed again if it is not wanted any more", async () => {
    const { clock, store, registrar, answer, settle } = stubborn();
    const registering = registrar.register();
    await answer(0);
    await registering;
    await clock.advance(1_000);
    const deregistering = watch(registrar.deregister());
    await clock.advance(500);
    await answer(2);
    expect([store.operations, deregistering.state]).toEqual([["register", "renew", "remove"], "resolved"]);
    expect(store.present).toBe(false);
    await answer(1);
    expect(store.present).toBe(true);
    await settle(500);
    expect([store.present, clock.pending]).toEqual([false, 0]);
  });

  it("that are errors are nobody's unhandled rejection", async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", onUnhandled);
    const { clock, registrar, answer } = stubborn();
    void registrar.register();
    await clock.advance(100);
    await Promise.all([registrar.close(), clock.advance(3_000)]);
    await answer(0, down);
    process.off("unhandledRejection", onUnhandled);
    expect(unhandled).toEqual([]);
  });
});

describe("an abort in the moment of a failure", () => {
  it.each([0, 1, 2, 3, 4, 5, 6, 8, 10])("%d microtasks after it either wins, or changes nothing", async (hops) => {
    const { clock, sink, registrar } = setup();
    sink.reject("register", down, 1);
    const controller = new AbortController();
    const registering = watch(registrar.register({ signal: controller.signal }));
    for (let hop = 0; hop < hops; hop++) await Promise.resolve();
    controller.abort(reason);
    await clock.advance(2_000);
    expect(registering.state).toBe("rejected");
    expect([reason, down]).toContain(registering.error);
    expect(registrar.registered).toBe(registering.error === down);
    expect(clock.pending).toBe(0);
  });
});

describe("close", () => {
  it("deregisters", async () => {
    const { clock, sink, registrar } = await registered();
    await registrar.close();
    expect([sink.operations, sink.registered.size, clock.pending]).toEqual([["register", "remove"], 0, 0]);
    expect(registrar.registered).toBe(false);
  });

  it("is idempotent, and all calls share one promise", async () => {
    const { sink, registrar } = await registered();
    const closing = registrar.close();
    expect(registrar.close()).toBe(closing);
    expect(registrar[Symbol.asyncDispose]()).toBe(closing);
    expect(registrar[Symbol.asyncDispose]).toBe(registrar.close);
    await closing;
    await registrar.deregister();
    expect(sink.operations).toEqual(["register", "remove"]);
  });

  it("makes register reject with ClosedError, and writes nothing any more", async () => {
    const { clock, sink, registrar } = setup();
    const closing = registrar.close();
    await expect(registrar.register()).rejects.toMatchObject({ code: "CLOSED", name: "ClosedError" });
    await closing;
    await expect(registrar.register()).rejects.toMatchObject({ code: "CLOSED" });
    await clock.advance(60_000);
    expect([sink.operations, clock.pending]).toEqual([[], 0]);
  });

  it("ends a register that waits for its turn with ClosedError", async () => {
    const { clock, sink, registrar } = setup();
    sink.hang("register");
    const calls = [watch(registrar.register()), watch(registrar.register())];
    await clock.advance(1);
    const closing = watch(registrar.close());
    await clock.advance(500);
    expect(closing.state).toBe("resolved");
    expect(calls.map((call) => isDiscoveryError(call.error, "CLOSED"))).toEqual([true, true]);
    expect([sink.operations, clock.pending]).toEqual([["register"], 0]);
  });

  it.each(["renew", "register", "remove"] as const)("takes at most two seconds while %s hangs", async (hanging) => {
    const { clock, sink, registrar } = setup({ renewEveryMs: 1_000 });
    if (hanging === "register") sink.hang("register");
    void registrar.register();
    await clock.advance(0);
    sink.hang(hanging);
    await clock.advance(1_100);
    const closing = watch(registrar.close());
    await clock.advance(2_000);
    expect([closing.state, clock.pending]).toEqual(["resolved", 0]);
  });

  it("takes at most two seconds even after a deregistration that hangs", async () => {
    const { clock, sink, registrar } = await registered();
    sink.hang("remove");
    void registrar.deregister().catch(ignore);
    await clock.advance(1_500);
    const closing = watch(registrar.close());
    await clock.advance(2_000);
    expect([closing.state, clock.pending]).toEqual(["resolved", 0]);
  });

  it("never rejects, whatever the registry says; that is reported", async () => {
    const [failures, stop] = hear(channels.registrarFailed);
    const { clock, sink, registrar } = await registered();
    sink.reject("remove", down);
    await expect(registrar.close()).resolves.toBeUndefined();
    stop();
    expect(failures).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  it("works with await using", async () => {
    const { clock, sink } = setup();
    {
      await using registrar = createRegistrar(own, sink, { env: clock.env });
      await registrar.register();
    }
    expect(sink.operations).toEqual(["register", "remove"]);
  });
});

describe("createRegistrar", () => {
  it.each<[string, unknown, unknown, unknown, string]>([
    ["no instance", undefined, scriptedSink(), {}, "instance"],
    ["an instance without a port", { ...own, port: 0 }, scriptedSink(), {}, "port"],
    ["no sink", own, undefined, {}, "sink"],
    ["a sink that cannot register", own, { name: "x" }, {}, "sink"],
    ["an unknown option", own, scriptedSink(), { ttl: 1 }, "ttl"],
    ["an environment that is none", own, scriptedSink(), { env: { after: 1 } }, "env"],
  ])("refuses %s", (_what, instance, sink, options, path) => {
    let error: unknown;
    try {
      createRegistrar(instance as typeof own, sink as Sink, options as object);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: "INVALID_OPTION", path });
  });
});

import { describe, expect, it } from "vitest";
import { fixedInstancer } from "./fixed-instancer.ts";
import { createInstance } from "./instance.ts";

const init = { service: "lorem", host: "10.0.0.2", port: 80 };

describe("fixedInstancer", () => {
  it("is live from the start, with complete, sorted, frozen instances of different ids", () => {
    const { service, snapshot } = fixedInstancer("lorem", [
      init,
      { ...init, host: "10.0.0.1" },
      { ...init, weight: 9 },
    ]);
    expect(service).toBe("lorem");
    expect(snapshot).toStrictEqual({
      state: "live",
      revision: 1,
      instances: [createInstance({ ...init, host: "10.0.0.1" }), createInstance(init)],
    });
    expect([snapshot, snapshot.instances, snapshot.instances[0]].every(Object.isFrozen)).toBe(true);
  });

  it("is live and empty for an empty list", () => {
    expect(fixedInstancer("lorem", []).snapshot).toStrictEqual({ state: "live", revision: 1, instances: [] });
  });

  it("does not change the list, and does not notice when it changes", () => {
    const list = [{ ...init }];
    const instancer = fixedInstancer("lorem", list);
    list.push({ ...init, host: "10.0.0.3" });
    expect(instancer.snapshot.instances).toHaveLength(1);
    expect(Object.isFrozen(list[0])).toBe(false);
  });

  it("takes instances for their own inits", () => {
    const instance = createInstance({ ...init, zone: "a" });
    expect(fixedInstancer("lorem", [instance]).snapshot.instances).toStrictEqual([instance]);
  });

  it("notifies nobody, and leaving is harmless", async () => {
    const instancer = fixedInstancer("lorem", [init]);
    let calls = 0;
    const leave = instancer.subscribe(() => calls++);
    leave();
    leave();
    await instancer.close();
    expect(calls).toBe(0);
  });

  it("closes once, keeps its snapshot, and lets nobody subscribe afterwards", async () => {
    const instancer = fixedInstancer("lorem", [init]);
    const closing = instancer.close();
    expect(instancer.close()).toBe(closing);
    expect(instancer[Symbol.asyncDispose]()).toBe(closing);
    await closing;
    expect(instancer.snapshot.instances).toHaveLength(1);
    let error: unknown;
    try {
      instancer.subscribe(() => undefined);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: "CLOSED" });
  });

  it.each<[string, unknown, unknown, string]>([
    ["an empty service", "", [], "service"],
    ["a list that is none", "lorem", undefined, "instances"],
    ["a list that is an object", "lorem", {}, "instances"],
    ["an instance without a port", "lorem", [init, { ...init, port: undefined }], "port"],
    ["an instance that is null", "lorem", [null], "options"],
  ])("refuses %s", (_what, service, list, path) => {
    let error: unknown;
    try {
      fixedInstancer(service as string, list as never);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: "INVALID_OPTION", path });
  });
});

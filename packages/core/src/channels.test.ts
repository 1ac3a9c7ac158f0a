import diagnosticsChannel from "node:diagnostics_channel";
import { describe, expect, it } from "vitest";
import { channels } from "./channels.ts";

describe("channels", () => {
  it("have different names, all of Rollcall's own", () => {
    const names = Object.values(channels).map((channel) => channel.name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^rollcall:[a-z]+(-[a-z]+)*$/);
  });

  it("are node's diagnostics channels: whoever knows the name can listen", () => {
    const heard: unknown[] = [];
    const listener = (message: unknown, name: string | symbol): void => void heard.push([name, message]);
    diagnosticsChannel.subscribe("rollcall:listener-error", listener);
    expect(channels.listenerError.hasSubscribers).toBe(true);
    channels.listenerError.publish({ error: 1 });
    diagnosticsChannel.unsubscribe("rollcall:listener-error", listener);
    channels.listenerError.publish({ error: 2 });
    expect(heard).toEqual([["rollcall:listener-error", { error: 1 }]]);
    expect(channels.listenerError.hasSubscribers).toBe(false);
  });

  it("give the very message to each listener until it unsubscribes, which it may do twice", () => {
    const heard: unknown[] = [];
    const message = { error: new Error("x") };
    const first = channels.listenerError.subscribe((given) => heard.push(["first", given]));
    const second = channels.listenerError.subscribe((given) => heard.push(["second", given]));
    channels.listenerError.publish(message);
    first();
    first();
    channels.listenerError.publish(message);
    second();
    expect(heard).toEqual([
      ["first", message],
      ["second", message],
      ["second", message],
    ]);
    expect((heard[0] as unknown[])[1]).toBe(message);
  });
});

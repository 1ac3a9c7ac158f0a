import { type Registrar, type Registry } from "@rollcall/core";
import { seededRandom } from "@rollcall/testing";
import { type TestServer, serverSkipped, startConsul } from "@rollcall/testing/servers";
import { beforeAll, describe, expect, it } from "vitest";
import { consulRegistry } from "../src/index.ts";
import { closeAfterwards, newService, pause, until } from "../../testing/test/backend.ts";
import { ask } from "./consul.ts";

/** Renewed every 166 ms. */
const check = { ttlMs: 500 };

describe.skipIf(serverSkipped("consul"))("a consul registration that is taken back", () => {
  let consul: TestServer;
  beforeAll(async () => {
    consul = await startConsul({ keepData: false });
  });
  closeAfterwards(() => consul?.close());

  /** What Consul holds of a service, in whatever state. */
  const idsOf = async (service: string): Promise<readonly string[]> => {
    const entries = await ask<readonly { ServiceID: string }[]>(consul.url, `/catalog/service/${service}`);
    return entries.map(({ ServiceID }) => ServiceID).toSorted();
  };

  /** Registers, and at some moment within `mostMs` takes it back, in one of all ways. */
  async function round(registrar: Registrar, random: () => number): Promise<void> {
    const way = Math.floor(random() * 5);
    const soon = (mostMs: number) => pause(random() * mostMs);
    if (way === 0) {
      await registrar.register();
      await soon(400); // renewals go on
      await registrar.deregister();
    } else if (way === 1) {
      void registrar.register();
      await soon(12);
      await registrar.deregister();
    } else if (way === 2) {
      const leaving = new AbortController();
      const registering = registrar.register({ signal: leaving.signal }).catch(() => undefined);
      await soon(12);
      leaving.abort();
      await registering;
      if (registrar.registered) await registrar.deregister(); // the abort came too late
    } else if (way === 3) {
      void registrar.register();
      await soon(12);
      registrar.deregister().catch(() => undefined); // cut off by the next
      void registrar.register();
      await soon(12);
    } else {
      await registrar.register();
      const leaving = new AbortController();
      const deregistering = registrar.deregister({ signal: leaving.signal }).catch(() => undefined);
      await soon(4);
      leaving.abort();
      await deregistering;
    }
    await registrar.close();
  }

  it("never comes back, 1,000 times out of 1,000", async () => {
    const [lanes, rounds] = [20, 50];
    const service = newService();
    const registry: Registry = consulRegistry({ url: consul.url, check });
    await Promise.all(
      Array.from({ length: lanes }, async (_, lane) => {
        const random = seededRandom(lane + 1);
        for (let n = 0; n < rounds; n++) {
          const id = `${lane}-${n}`;
          await round(registry.registrar({ service, id, host: "10.0.0.1", port: 80 }), random);
        }
      }),
    );
    // What was aborted is taken back in the background.
    await until("all are gone", async () => (await idsOf(service)).length === 0, 5_000);
    await pause(1_000);
    expect(await idsOf(service)).toEqual([]);
    await registry.close();
    await pause(500);
    expect(await idsOf(service)).toEqual([]);
    expect(await ask(consul.url, "/agent/services")).toEqual({});
  });

  it("never comes back either when its process starts anew under the same id, and does not take the new one along", async () => {
    const service = newService();
    const random = seededRandom(7);
    const [old, young] = [1, 2].map(() => consulRegistry({ url: consul.url, check }));
    if (old === undefined || young === undefined) expect.unreachable();
    for (let n = 0; n < 60; n++) {
      const init = { service, id: `i${n}`, host: "10.0.0.1", port: 80 };
      const [first, second] = [old.registrar(init), young.registrar({ ...init, port: 81 })];
      await first.register();
      await pause(random() * 40);
      // The new process registers while the old one takes its leave.
      const [leaving, coming] = [first.close(), pause(random() * 8).then(() => second.register())];
      await Promise.all([leaving, coming]);
      await until("the new one is there", async () => (await idsOf(service)).includes(init.id), 1_000);
      await pause(200); // and survives a renewal
      expect([await idsOf(service), first.registered, second.registered]).toEqual([[init.id], false, true]);
      await second.deregister();
      await until("it is gone", async () => (await idsOf(service)).length === 0, 1_000);
    }
    await pause(200);
    expect(await idsOf(service)).toEqual([]);
    await Promise.all([old.close(), young.close()]);
  });
});

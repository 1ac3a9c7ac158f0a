import { setTimeout as sleep } from "node:timers/promises";
import type { Row } from "../row.ts";
import type { Stage } from "../stage.ts";

const EMPTIED = "the records are gone";

/** What happens to the registry itself, and to its data. */
export const registryRows: readonly Row[] = [
  {
    name: "kill",
    title: "Registry killed (SIGKILL), back with its data after 10 s",
    outlast: true,
    async run(stage) {
      const { server } = stage.store;
      await stage.ill(10_000, { begin: server.kill, end: server.start, during: () => stage.start() });
    },
  },
  {
    name: "kill-empty",
    title: "Registry killed (SIGKILL), back empty after 10 s",
    outlast: true,
    short: true,
    anew: EMPTIED,
    async run(stage) {
      const { server } = stage.store;
      await stage.ill(10_000, {
        begin: server.kill,
        during: () => stage.start(),
        async end() {
          await server.wipe();
          await server.start();
        },
      });
    },
  },
  {
    name: "freeze",
    title: "Registry stopped (SIGSTOP) for 20 s",
    async run(stage) {
      const { server } = stage.store;
      await stage.ill(20_000, { begin: server.freeze, end: server.thaw, during: () => stage.start() });
    },
  },
  {
    name: "backwards",
    title: "Registry back from an older copy of its data: index or revision goes backwards",
    anew: "the older copy lacks a record",
    async run(stage) {
      const { server } = stage.store;
      await server.kill();
      await server.save();
      await server.start();
      await stage.settle();
      await stage.store.churn(100);
      await stage.start();
      await stage.settle();
      await stage.ill(5_000, {
        begin: server.kill,
        async end() {
          await server.restore();
          await server.start();
        },
      });
    },
  },
  {
    name: "compaction",
    title: "History compacted while the client was cut off for 20 s",
    async run(stage) {
      const [first] = stage.servers;
      await stage.ill(20_000, {
        begin: () => stage.clientSide.set((way) => way.cut()),
        end: () => stage.clientSide.set((way) => way.open()),
        async during() {
          await stage.start();
          if (first !== undefined) await stage.stop(first);
          await stage.store.churn(100);
          await stage.store.compact();
        },
      });
    },
  },
  {
    name: "credentials",
    title: "Credentials refused for 20 s",
    outlast: true,
    short: true,
    guarded: true,
    async run(stage) {
      const { store } = stage;
      await stage.ill(20_000, {
        begin: () => store.revoke("credentials"),
        end: () => store.restore(),
        during: () => stage.start(),
      });
    },
  },
  {
    name: "rights",
    title: "The client's right to read taken away for 40 s",
    guarded: true,
    async run(stage) {
      const { store, client } = stage;
      const [first] = stage.servers;
      await client.ask("resetFewest");
      await stage.ill(40_000, {
        begin: () => store.revoke("client's rights"),
        end: () => store.restore(),
        async during() {
          await stage.start();
          if (first !== undefined) await stage.stop(first);
        },
      });
      await stage.settle();
      // A question that was asked without the right may be answered when it is long back.
      await sleep(30_000);
      stage.demand((await client.ask("fewest")) > 0, "an answer without the right to read was taken for an empty one");
    },
  },
  {
    name: "emptied-unseen",
    title: "All records deleted by somebody else during a cut of 10 s: held back",
    short: true,
    anew: EMPTIED,
    async run(stage) {
      await stage.client.ask("resetFewest");
      await stage.ill(10_000, {
        begin: () => everyWay(stage, "cut"),
        end: () => everyWay(stage, "open"),
        during: () => stage.store.forget(stage.service),
      });
      await stage.settle();
      stage.demand((await stage.client.ask("fewest")) > 0, "the empty answer was believed");
    },
  },
  {
    name: "emptied",
    title: "All records deleted by somebody else in normal running: believed",
    anew: EMPTIED,
    unreachable: "the registry says that there is no instance",
    async run(stage) {
      await stage.client.ask("resetFewest");
      await stage.store.forget(stage.service);
      stage.over();
      for (let waits = 0; waits < 30 && (await stage.client.ask("fewest")) > 0; waits++) await sleep(100);
      stage.demand((await stage.client.ask("fewest")) === 0, "the empty answer was not believed");
    },
  },
];

function everyWay(stage: Stage, state: "cut" | "open"): Promise<unknown> {
  return Promise.all([stage.clientSide, stage.serverSide].map((side) => side.set((way) => way[state]())));
}

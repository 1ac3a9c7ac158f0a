import { setTimeout as sleep } from "node:timers/promises";
import type { Row } from "../row.ts";
import type { Stage, StageServer } from "../stage.ts";

const HOUR_MS = 3_600_000;
/** How many processes make how many instances. */
const [CROWDS, CROWD] = [4, 50];

/** What happens to servers and clients. */
export const processRows: readonly Row[] = [
  {
    name: "blocked",
    title: "A server's event loop blocked for 10 s (TTL 3 s)",
    outlast: true,
    short: true,
    ttlMs: 3_000,
    anew: "the lease has run out",
    async run(stage) {
      const [first] = stage.servers;
      await stage.client.ask("resetFewest");
      await first?.worker.ask("block", 10_000);
      stage.over();
      stage.demand((await stage.client.ask("fewest")) === 2, "the registry never dropped the blocked server");
    },
  },
  {
    name: "clock",
    title: "Wall clocks of servers and client jump by +1 h, then by −2 h",
    async run(stage) {
      const [first] = stage.servers;
      await jump(stage, HOUR_MS);
      await stage.start();
      await sleep(8_000);
      await jump(stage, -HOUR_MS);
      if (first !== undefined) await stage.stop(first);
      await sleep(8_000);
      await jump(stage, 0);
      stage.over();
    },
  },
  {
    name: "crowd",
    title: `${CROWDS * CROWD} instances come, and go, at once`,
    async run(stage) {
      const ports = Array.from({ length: CROWD }, () => 0);
      const crowds = await Promise.all(Array.from({ length: CROWDS }, () => stage.start(ports)));
      stage.over();
      await stage.settle();
      await Promise.all(crowds.map((crowd) => stage.stop(crowd)));
      stage.over();
    },
  },
  {
    name: "rolling",
    title: "Rolling restart of all servers, each on a new port",
    async run(stage) {
      for (const server of stage.servers) {
        await stage.start();
        await stage.stop(server);
      }
      stage.over();
    },
  },
  {
    name: "rolling-unseen",
    title: "Rolling restart of all servers, each on its port, during a cut of 20 s",
    outlast: true,
    async run(stage) {
      await outage(stage, async () => {
        for (const server of stage.servers) {
          await stage.stop(server, "unheard");
          await stage.start(server.addresses.map(portOf));
        }
      });
    },
  },
  {
    name: "killed-unseen",
    title: "A server killed (SIGKILL) during a cut of 20 s",
    outlast: true,
    short: true,
    async run(stage) {
      const [first] = stage.servers;
      await outage(stage, async () => {
        await sleep(1_000);
        if (first !== undefined) await stage.kill(first);
      });
    },
  },
];

function outage(stage: Stage, during: () => Promise<void>): Promise<void> {
  const set = (state: "cut" | "open"): Promise<unknown> =>
    Promise.all([stage.clientSide, stage.serverSide].map((side) => side.set((way) => way[state]())));
  return stage.ill(20_000, { begin: () => set("cut"), end: () => set("open"), during });
}

async function jump(stage: Stage, toMs: number): Promise<void> {
  const all = [stage.client, ...stage.servers.map(({ worker }: StageServer) => worker)];
  await Promise.all(all.map((worker) => worker.ask("shiftClock", toMs)));
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}

import { setTimeout as sleep } from "node:timers/promises";
import type { TcpProxy } from "@rollcall/testing";
import type { Row } from "../row.ts";
import type { Stage } from "../stage.ts";

type Side = "client" | "servers" | "both";

const SIDES = { client: "the client's side", servers: "the servers' side", both: "both sides" } as const;

/** The network between the registry and everybody else. Calls do not pass through it. */
export const networkRows: readonly Row[] = [
  ...(["client", "servers", "both"] as const).map((side): Row =>
    broken("cut", "Network cut", side, (way) => way.cut()),
  ),
  ...(["client", "servers", "both"] as const).map((side): Row =>
    broken("hole", "Network hole (accepts, never answers)", side, (way) => way.hole()),
  ),
  {
    name: "slow",
    title: "Slow registry (every answer 2 s late) for 20 s",
    run: (stage) => afflict(stage, "both", 20_000, (way) => way.delay(2_000)),
  },
  {
    name: "truncate",
    title: "Answers cut off after 300 bytes for 20 s",
    short: true,
    run: (stage) => afflict(stage, "both", 20_000, (way) => way.truncate(300)),
  },
  {
    name: "flap",
    title: "Network flapping every 500 ms for 30 s",
    short: true,
    async run(stage) {
      const well = new AbortController();
      const flap = async (): Promise<void> => {
        while (!well.signal.aborted) {
          await set(stage, "both", (way) => way.cut());
          await sleep(500);
          await set(stage, "both", (way) => way.open());
          await sleep(500);
        }
      };
      let done: Promise<void> | undefined;
      await stage.ill(30_000, {
        begin: async () => void (done = flap()),
        during: () => stage.start(),
        end: async () => {
          well.abort();
          await done;
        },
      });
    },
  },
];

function broken(name: string, title: string, side: Side, change: (way: TcpProxy) => Promise<void>): Row {
  return {
    name: `${name}-${side}`,
    title: `${title} for 20 s, ${SIDES[side]}`,
    ...((name === "cut" && side === "both") || (name === "hole" && side === "client") ? { short: true } : {}),
    run: (stage) => afflict(stage, side, 20_000, change),
  };
}

/** One server starts meanwhile; one stops too, where it can tell the registry so. */
async function afflict(
  stage: Stage,
  side: Side,
  forMs: number,
  change: (way: TcpProxy) => Promise<void>,
): Promise<void> {
  const [first] = stage.servers;
  await stage.ill(forMs, {
    begin: () => set(stage, side, change),
    end: () => set(stage, side, (way) => way.open()),
    async during() {
      await stage.start();
      if (side === "client" && first !== undefined) await stage.stop(first);
    },
  });
}

async function set(stage: Stage, side: Side, change: (way: TcpProxy) => Promise<void>): Promise<void> {
  if (side !== "servers") await stage.clientSide.set(change);
  if (side !== "client") await stage.serverSide.set(change);
}

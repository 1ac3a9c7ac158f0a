import { setTimeout as sleep } from "node:timers/promises";
import type { TcpProxy } from "@rollcall/testing";
import type { Row } from "../row.ts";
import type { Stage } from "../stage.ts";

type Side = "client" | "servers" | "both";

const FLAP_MS = 500;
const SIDES = { client: "the client's side", servers: "the servers' side", both: "both sides" } as const;

/** The network between the registry and everybody else. Calls do not pass through it. */
export const networkRows: readonly Row[] = [
  cut("client"),
  cut("servers"),
  { ...cut("both"), short: true },
  { ...hole("client"), short: true },
  hole("servers"),
  { ...hole("both"), outlast: true },
  {
    name: "slow",
    title: "Slow registry (every answer 2 s late) for 20 s",
    outlast: true,
    run: (stage) => afflict(stage, "both", 20_000, (way) => way.delay(2_000)),
  },
  {
    name: "truncate",
    title: "Answers cut off after 300 bytes for 20 s",
    outlast: true,
    short: true,
    run: (stage) => afflict(stage, "both", 20_000, (way) => way.truncate(300)),
  },
  {
    name: "flap",
    title: "Network flapping every 500 ms for 30 s",
    outlast: true,
    short: true,
    async run(stage) {
      let calm: (() => Promise<void>) | undefined;
      await stage.ill(30_000, {
        begin: async () => (calm = flap(stage)),
        during: () => stage.start(),
        end: async () => calm?.(),
      });
    },
  },
];

function cut(side: Side): Row {
  return {
    name: `cut-${side}`,
    title: `Network cut for 20 s, ${SIDES[side]}`,
    run: (stage) => afflict(stage, side, 20_000, (way) => way.cut()),
  };
}

function hole(side: Side): Row {
  return {
    name: `hole-${side}`,
    title: `Network hole (accepts, never answers) for 20 s, ${SIDES[side]}`,
    run: (stage) => afflict(stage, side, 20_000, (way) => way.hole()),
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

/** Cuts and opens every way in turn. Returns the function that ends it, with all of them open. */
export function flap(stage: Stage): () => Promise<void> {
  const calm = new AbortController();
  const flapping = async (): Promise<void> => {
    while (!calm.signal.aborted) {
      await set(stage, "both", (way) => way.cut());
      await sleep(FLAP_MS);
      await set(stage, "both", (way) => way.open());
      await sleep(FLAP_MS);
    }
  };
  const done = flapping();
  return async () => {
    calm.abort();
    await done;
  };
}

async function set(stage: Stage, side: Side, change: (way: TcpProxy) => Promise<void>): Promise<void> {
  if (side !== "servers") await stage.clientSide.set(change);
  if (side !== "client") await stage.serverSide.set(change);
}

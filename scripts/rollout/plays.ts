import { setTimeout as sleep } from "node:timers/promises";
import { nowMs } from "../chaos/now-ms.ts";
import { FRAMEWORKS } from "./framework.ts";
import type { Play } from "./play.ts";
import type { Stage, StageServer } from "./stage.ts";

/** How long a new copy may go without a call. */
const TRAFFIC_MS = 2_000;
const [FEW, MANY] = [2, 10];

const restart = { title: "Rolling restart", mix: "mixed", run: restartAll } as const;
const crash = {
  title: "A copy that finds its port taken, twice, during a restart",
  way: "client",
  mix: "mixed",
  run: crashTwice,
} as const;

/** All plays, in the order of the table. */
export const plays: readonly Play[] = [
  { name: "rolling", frameworks: FRAMEWORKS, way: "client", ...restart },
  { name: "gateway", frameworks: ["express"], way: "gateway", ...restart },
  { name: "dispatcher", frameworks: ["http"], way: "dispatcher", long: true, ...restart },
  { name: "fetch", frameworks: ["http"], way: "fetch", long: true, ...restart },
  {
    name: "kill",
    title: "Each server killed (SIGKILL), and started again at its port",
    frameworks: ["http"],
    way: "client",
    mix: "reads",
    async run(stage) {
      for (const server of stage.servers) {
        await stage.kill(server);
        await stage.start(server.port);
        await sleep(stage.pace.leadMs / 2);
      }
    },
  },
  {
    name: "kill-moved",
    title: "Two servers killed (SIGKILL), and started again elsewhere",
    frameworks: ["http"],
    way: "client",
    mix: "reads",
    async run(stage) {
      // The registry lists the dead for a TTL. More than two could be all that three attempts find.
      for (const server of stage.servers.slice(0, 2)) {
        await stage.kill(server);
        await stage.start();
        await sleep(stage.pace.leadMs / 2);
      }
    },
  },
  {
    name: "scale",
    title: `Scaled ${FEW} → ${MANY} → ${FEW}`,
    frameworks: ["http"],
    way: "client",
    mix: "mixed",
    servers: FEW,
    run: scale,
  },
  { name: "crash", frameworks: ["http"], ...crash },
  { name: "crash-nest", frameworks: ["nest-express"], long: true, ...crash },
  {
    name: "registry",
    title: "Registry killed in the middle of a restart, and back after 3 s",
    frameworks: ["http"],
    way: "client",
    mix: "mixed",
    async run(stage) {
      const [first, second, third, ...others] = stage.servers;
      if (first !== undefined) await replace(stage, first);
      await stage.store.server.kill();
      // One that has just gone when it happens, and one that goes while nobody can be told.
      const back = sleep(3_000).then(() => stage.store.server.start());
      const unheard = [];
      for (const server of [second, third]) {
        if (server === undefined) continue;
        await stage.stop(server);
        unheard.push(await stage.startUnheard(server.port));
      }
      await back;
      for (const child of unheard) await stage.registered(child);
      for (const server of others) await replace(stage, server);
    },
  },
];

/** Half of the copies get their old port again, the others a new one: then the new copy is there first. */
async function restartAll(stage: Stage): Promise<void> {
  for (let round = 0; round < stage.pace.rounds; round++) {
    for (const [index, server] of stage.servers.entries()) {
      if ((round + index) % 2 === 0) await replace(stage, server);
      else {
        await stage.start();
        await stage.stop(server);
      }
    }
  }
}

async function replace(stage: Stage, server: StageServer): Promise<void> {
  await stage.stop(server);
  await stage.start(server.port);
}

async function crashTwice(stage: Stage): Promise<void> {
  const [first, ...others] = stage.servers;
  for (const server of others.slice(0, 2)) {
    const child = await stage.startUnheard(first?.port ?? 0);
    const { code } = await child.ended;
    stage.demand(code !== 0 && code !== null, `it ended with exit code ${code}`);
    stage.demand(
      child.lines.some(({ text }) => text.includes("EADDRINUSE")),
      "it did not say why it ended",
    );
    await replace(stage, server);
  }
}

async function scale(stage: Stage): Promise<void> {
  const added: StageServer[] = [];
  // In pairs: on one machine, all at once would be a test of its processors.
  while (added.length < MANY - FEW) added.push(...(await Promise.all([stage.start(), stage.start()])));
  const deadline = Math.max(...added.map(({ registeredAtMs }) => registeredAtMs)) + TRAFFIC_MS;
  await sleep(Math.max(stage.pace.leadMs, deadline - nowMs()));
  const first = await stage.client.ask("firstAnswers");
  const waits = added.map(({ child, registeredAtMs }) => (first[child.pid] ?? Infinity) - registeredAtMs);
  const longest = Math.max(...waits);
  stage.note(`first call of a new copy after ${waits.map((wait) => Math.max(0, wait).toFixed(0)).join(", ")} ms`);
  stage.demand(longest <= TRAFFIC_MS, `a new copy had its first call after ${longest.toFixed(0)} ms`);

  const gone = await Promise.all(
    added.map(async (server) => {
      await stage.stop(server);
      return { port: server.port, atMs: nowMs() };
    }),
  );
  await sleep(stage.pace.leadMs);
  const last = await stage.client.ask("lastConnects");
  const late = gone.filter(({ port, atMs }) => (last[port] ?? 0) > atMs);
  stage.demand(late.length === 0, `${late.length} of ${gone.length} copies were called when they had gone`);
}

import { setTimeout as sleep } from "node:timers/promises";
import type { Line } from "./line.ts";
import { fairShare } from "./fair-share.ts";
import { callTimes, type Load } from "./load.ts";
import { sameIds, seenBy, untilSeen } from "./seen.ts";
import type { Stage, StageServer } from "./stage.ts";
import { CALLS_PER_SECOND, TAIL_MS, underLoad } from "./under-load.ts";
import { until } from "./until.ts";

/**
 * What the demo tells, one step after another. Every step says first what it is about to do (`tell`), does it, and
 * gives the line that came of it; whether that is `ok` is decided by what was counted from outside, by the header with
 * which an instance signs its answers.
 */
export async function* story(stage: Stage, tell: (text: string) => void): AsyncGenerator<Line> {
  const { clientUrl } = stage;

  tell("Starting two servers. The client is up already, and knows nothing but the registry.");
  let [nest, express] = await Promise.all([stage.startServer("nest"), stage.startServer("express")]);
  const startedAt = performance.now();
  await untilSeen(clientUrl, idsOf(nest, express));
  yield {
    title: "both servers found",
    seen: `${nest.instanceId} (nest) and ${express.instanceId} (express), after ${since(startedAt)}`,
    ok: true,
  };

  tell("Calling 20 times, one call after another.");
  yield fairShare("20 calls, 10 each", await callTimes(clientUrl, 20), nest, express);

  tell(`Stopping the Nest server in good order, at ${CALLS_PER_SECOND} calls per second.`);
  yield await underLoad(clientUrl, "one stopped gracefully", async (load) => {
    await stage.stopServer(nest);
    const left = await refusesConnections(nest);
    await untilOnly(load, express);
    return { ok: left, seen: left ? "it left, the other one took over" : "but its port still answers" };
  });

  tell("Starting it again, on the port it had.");
  nest = await stage.startServer("nest", portOf(nest));
  await untilSeen(clientUrl, idsOf(nest, express));
  yield fairShare("it comes back", await callTimes(clientUrl, 20), nest, express);

  tell(`Killing the Express server, at ${CALLS_PER_SECOND} calls per second: no goodbye, connections break.`);
  yield await underLoad(clientUrl, "one killed hard", async (load) => {
    const killedAt = performance.now();
    await stage.killServer(express);
    const left = await refusesConnections(express);
    await untilOnly(load, nest);
    const retried = await failedAttempts(stage, express);
    const forgotten = await forgottenAfter(stage, express, killedAt);
    // A client that has forgotten the server already has forgotten the number, too.
    const seen = `${retried ?? "some"} attempts failed, and were made again elsewhere${forgotten}`;
    return { ok: left && retried !== 0, seen: left ? seen : "but its port still answers" };
  });

  tell("Starting that one again, too.");
  express = await stage.startServer("express", portOf(express));
  await untilSeen(clientUrl, idsOf(nest, express));
  await until("calls to both servers", 10_000, async () => {
    const { answeredBy } = await callTimes(clientUrl, 2);
    return answeredBy.size === 2;
  });
  yield fairShare("it comes back, too", await callTimes(clientUrl, 20), nest, express);

  tell("Taking the registry away, and calling on.");
  yield await underLoad(clientUrl, "registry gone", async (load) => {
    await stage.loseRegistry();
    const gone = await stage.registered().then(
      () => false,
      () => true,
    );
    const before = new Map(load.tally.answeredBy);
    await sleep(TAIL_MS);
    const both = [nest, express].every(
      ({ instanceId: id }) => (load.tally.answeredBy.get(id) ?? 0) > (before.get(id) ?? 0),
    );
    return { ok: gone && both, seen: gone ? "both go on serving" : "but it still answers" };
  });

  tell("Bringing the registry back.");
  yield await underLoad(clientUrl, "registry back", async () => {
    const backAt = performance.now();
    await stage.returnRegistry();
    await until("both are registered again", 15_000, async () =>
      sameIds(await stage.registered(), idsOf(nest, express)),
    );
    await untilSeen(clientUrl, idsOf(nest, express));
    return { ok: true, seen: `both registered again by themselves, after ${since(backAt)}` };
  });
}

/** Waits until the registry has forgotten a server that was killed, where that does not take long. Says how long. */
async function forgottenAfter(stage: Stage, server: StageServer, killedAt: number): Promise<string> {
  if (stage.ttlMs > 3_000) return "";
  await until("the registry forgets it", 2 * stage.ttlMs, async () => {
    return !(await stage.registered()).includes(server.instanceId);
  });
  return `; it left the registry by itself after ${since(killedAt)}`;
}

/** Waits until the load is answered by this server alone, for 50 calls in a row. */
async function untilOnly(load: Load, server: StageServer): Promise<void> {
  const others = (): number =>
    [...load.tally.answeredBy].reduce((sum, [id, count]) => (id === server.instanceId ? sum : sum + count), 0);
  const own = (): number => load.tally.answeredBy.get(server.instanceId) ?? 0;
  let [othersThen, ownThen] = [others(), own()];
  await until(`answers from ${server.instanceId} alone`, 10_000, async () => {
    if (others() !== othersThen) [othersThen, ownThen] = [others(), own()];
    return own() - ownThen >= 50;
  });
}

/** How many attempts at this server failed, as the client counts them; undefined if it has forgotten the server. */
async function failedAttempts(stage: Stage, server: StageServer): Promise<number | undefined> {
  return (await seenBy(stage.clientUrl)).find(({ id }) => id === server.instanceId)?.failures;
}

/** A server that has gone accepts no connection: a look of our own, past the client. */
async function refusesConnections(server: StageServer): Promise<boolean> {
  return fetch(`${server.url}/health`, { signal: AbortSignal.timeout(2_000) }).then(
    () => false,
    () => true,
  );
}

function portOf(server: StageServer): number {
  return Number(new URL(server.url).port);
}

function since(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1_000).toFixed(2)} s`;
}

function idsOf(...servers: readonly StageServer[]): string[] {
  return servers.map(({ instanceId }) => instanceId);
}

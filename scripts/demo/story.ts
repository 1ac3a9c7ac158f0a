import { setTimeout as sleep } from "node:timers/promises";
import { callTimes, type Load, startLoad, type Tally } from "./load.ts";
import type { Stage, StageServer } from "./stage.ts";
import { until } from "./until.ts";

/** One line of the table at the end. */
export interface Line {
  readonly title: string;
  readonly tally?: Tally;
  /** What was seen, in words. */
  readonly seen: string;
  readonly ok: boolean;
}

/** How busy the servers are kept while something happens to them. */
const CALLS_PER_SECOND = 200;

/** How long the load runs before something happens, and on after it. */
const LEAD_MS = 400;
const TAIL_MS = 800;

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
  await untilSeen(stage, [nest, express]);
  yield {
    title: "both servers found",
    seen: `${nest.instanceId} (nest) and ${express.instanceId} (express), after ${since(startedAt)}`,
    ok: true,
  };

  tell("Calling 20 times, one call after another.");
  yield fairShare("20 calls, 10 each", await callTimes(clientUrl, 20), nest, express);

  tell(`Stopping the Nest server in good order, at ${CALLS_PER_SECOND} calls per second.`);
  yield await underLoad(stage, "one stopped gracefully", async (load) => {
    await stage.stopServer(nest);
    const left = await refusesConnections(nest);
    await untilOnly(load, express);
    return { ok: left, seen: left ? "it left, the other one took over" : "but its port still answers" };
  });

  tell("Starting it again, on the port it had.");
  nest = await stage.startServer("nest", portOf(nest));
  await untilSeen(stage, [nest, express]);
  yield fairShare("it comes back", await callTimes(clientUrl, 20), nest, express);

  tell(`Killing the Express server, at ${CALLS_PER_SECOND} calls per second: no goodbye, connections break.`);
  yield await underLoad(stage, "one killed hard", async (load) => {
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
  await untilSeen(stage, [nest, express]);
  await until("calls to both servers", 10_000, async () => {
    const { answeredBy } = await callTimes(clientUrl, 2);
    return answeredBy.size === 2;
  });
  yield fairShare("it comes back, too", await callTimes(clientUrl, 20), nest, express);

  tell("Taking the registry away, and calling on.");
  yield await underLoad(stage, "registry gone", async (load) => {
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
  yield await underLoad(stage, "registry back", async () => {
    const backAt = performance.now();
    await stage.returnRegistry();
    await until("both are registered again", 15_000, async () => sameIds(await stage.registered(), [nest, express]));
    await untilSeen(stage, [nest, express]);
    return { ok: true, seen: `both registered again by themselves, after ${since(backAt)}` };
  });
}

/** Runs something while calls stream in, a while before it and a while after. Not one of them may fail. */
async function underLoad(
  stage: Stage,
  title: string,
  act: (load: Load) => Promise<{ readonly ok: boolean; readonly seen: string }>,
): Promise<Line> {
  const load = startLoad(stage.clientUrl, CALLS_PER_SECOND);
  await sleep(LEAD_MS);
  // Whatever happens, the load ends with the step.
  const [acted] = await Promise.allSettled([act(load)]);
  await sleep(TAIL_MS);
  const tally = await load.stop();
  if (acted.status === "rejected") throw acted.reason;
  const { ok, seen } = acted.value;
  const [failure] = tally.failures;
  if (failure !== undefined) return { title, tally, ok: false, seen: `the first failure: ${failure}` };
  return { title, tally, ok: ok && tally.calls > CALLS_PER_SECOND * 0.8, seen };
}

function fairShare(title: string, tally: Tally, ...servers: readonly StageServer[]): Line {
  const shares = servers.map(({ instanceId }) => tally.answeredBy.get(instanceId) ?? 0);
  const ok = tally.failures.length === 0 && shares.every((share) => share === tally.calls / servers.length);
  const seen = servers.map(({ framework }, place) => `${framework} ${shares[place]}`).join(", ");
  return { title, tally, ok, seen };
}

/** What the client knows of one instance. */
interface Seen {
  readonly id: string;
  readonly failures: number;
}

async function seenBy(stage: Stage): Promise<readonly Seen[]> {
  const response = await fetch(`${stage.clientUrl}/sd-lorem/instances`);
  const { instances } = (await response.json()) as { readonly instances: readonly Seen[] };
  return instances;
}

/** Waits until the client sees exactly these servers. */
async function untilSeen(stage: Stage, servers: readonly StageServer[]): Promise<void> {
  const wanted = servers.map(({ instanceId }) => instanceId).join(", ");
  await until(`the client sees ${wanted}`, 10_000, async () => {
    const ids = (await seenBy(stage)).map(({ id }) => id);
    if (!sameIds(ids, servers)) throw new Error(`it sees ${ids.join(", ") || "nothing"}`);
    return true;
  });
}

function sameIds(ids: readonly string[], servers: readonly StageServer[]): boolean {
  return ids.length === servers.length && servers.every(({ instanceId }) => ids.includes(instanceId));
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
  return (await seenBy(stage)).find(({ id }) => id === server.instanceId)?.failures;
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

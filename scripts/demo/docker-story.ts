import type { Container, DockerStage } from "./docker-stage.ts";
import { fairShare } from "./fair-share.ts";
import type { Line } from "./line.ts";
import { type Load, callTimes } from "./load.ts";
import { sameIds, untilSeen } from "./seen.ts";
import { CALLS_PER_SECOND, TAIL_MS, underLoad } from "./under-load.ts";
import { until } from "./until.ts";

/** A server is killed in it, and Docker takes its time to start four containers on a small machine. */
const SCALE_MS = 60_000;

/** What `npm run demo:docker` tells: the same as the demo, seen from outside of containers. */
export async function* dockerStory(stage: DockerStage, tell: (text: string) => void): AsyncGenerator<Line> {
  const { clientUrl } = stage;

  tell("Everything is up. Nothing waited for anything else: they find each other.");
  const both = await stage.servers();
  await untilSeen(clientUrl, idsOf(both), 30_000);
  yield { title: "both servers found", seen: idsOf(both).join(" and "), ok: both.length === 2 };

  tell("Calling 20 times, one call after another.");
  yield fairShare("20 calls, 10 each", await callTimes(clientUrl, 20), ...both);

  const [nest, express] = both;
  if (nest === undefined || express === undefined) throw new Error("there are no two servers");
  tell(`docker stop: the Nest server ends in good order, at ${CALLS_PER_SECOND} calls per second.`);
  yield await underLoad(clientUrl, "one stopped", async (load) => {
    const code = await stage.stop(nest);
    const left = !(await stage.registered()).includes(nest.instanceId);
    await untilAnswersOf(load, [express]);
    return { ok: code === 0 && left, seen: `exit code ${code}; it had left the registry ${left ? "before" : "not"}` };
  });

  tell("Starting it again.");
  await stage.scale(1);
  const again = await stage.servers();
  await untilSeen(clientUrl, idsOf(again), 30_000);
  yield fairShare("it comes back", await callTimes(clientUrl, 20), ...again);

  tell(`docker kill: the Express server is gone, at ${CALLS_PER_SECOND} calls per second.`);
  const left = again.filter(({ id }) => id !== express.id);
  yield await underLoad(clientUrl, "one killed", async (load) => {
    await stage.kill(express);
    await untilAnswersOf(load, left);
    return { ok: true, seen: "the other one took over" };
  });

  tell(`Scaling to four servers, at ${CALLS_PER_SECOND} calls per second.`);
  let four: readonly Container[] = [];
  yield await underLoad(clientUrl, "scaled to 4", async (load) => {
    await stage.scale(2);
    four = await stage.servers();
    await until("answers of all four", SCALE_MS, async () =>
      four.every(({ instanceId }) => answers(load, instanceId) > 0),
    );
    return { ok: four.length === 4, seen: "each of them answers" };
  });

  tell("Restarting Consul, which forgets everything, and calling on.");
  yield await underLoad(clientUrl, "Consul restarted", async () => {
    await stage.restartConsul();
    const backAt = performance.now();
    await until("all four are registered again", 20_000, async () => sameIds(await stage.registered(), idsOf(four)));
    const seconds = ((performance.now() - backAt) / 1_000).toFixed(1);
    return { ok: true, seen: `all four registered again by themselves, after ${seconds} s` };
  });

  tell("Calling 40 times.");
  await untilSeen(clientUrl, idsOf(four), 30_000);
  yield fairShare("40 calls, 10 each", await callTimes(clientUrl, 40), ...four);

  tell("Stopping everything.");
  const rough = await stage.stopAll();
  const deregistered = (await stage.registered()).length === 0;
  yield {
    title: "down",
    seen:
      rough.length > 0
        ? `not with exit code 0: ${rough.join(", ")}`
        : "every process ended with exit code 0, the registry is empty",
    ok: rough.length === 0 && deregistered,
  };
}

function idsOf(servers: readonly Container[]): readonly string[] {
  return servers.map(({ instanceId }) => instanceId);
}

function answers({ tally }: Load, instanceId: string): number {
  return tally.answeredBy.get(instanceId) ?? 0;
}

/** Waits until for a while nobody but these has answered. */
async function untilAnswersOf(load: Load, servers: readonly Container[]): Promise<void> {
  const wanted = idsOf(servers);
  const others = (): number =>
    [...load.tally.answeredBy].reduce((sum, [id, count]) => (wanted.includes(id) ? sum : sum + count), 0);
  let then = others();
  let since = performance.now();
  await until(`answers of ${wanted.join(", ")} alone`, 20_000, async () => {
    if (others() !== then) [then, since] = [others(), performance.now()];
    return performance.now() - since >= TAIL_MS && wanted.every((id) => answers(load, id) > 0);
  });
}

// A process that watches: `subscriber.ts <registry> <scheme> <url> <service …>`. Says when its watches stand, and from then
// on answers what it is asked. Times are those of the machine's monotonic clock, which all processes share.
import { CONSUL_SCHEMES } from "./consul-schemes.ts";
import { ETCD_SCHEMES } from "./etcd-schemes.ts";
import type { Question } from "./subscription.ts";

const [registry, name = "", url = "", prefix = "", count = "1"] = process.argv.slice(2);
const scheme = (registry === "consul" ? CONSUL_SCHEMES : ETCD_SCHEMES)[name];
if (scheme === undefined) throw new Error(`${registry} has no scheme "${name}"`);
const services = Array.from({ length: Number(count) }, (_, place) => `${prefix}-${place}`);

/** For each place the port that was seen last, and when. */
const ports = new Int32Array(services.length);
const times = new BigInt64Array(services.length);
let awaited: { readonly place: number; readonly port: number } | undefined;

function answer(place: number): void {
  awaited = undefined;
  process.send?.({ nanos: String(times[place]) });
}

// First of all, for it keeps this process alive: waiting for a registry does not, in every scheme.
process.on("message", (question: Question) => {
  if (question === "cpu") process.send?.(process.cpuUsage());
  else if (question === "memory") process.send?.({ before, now: memory() });
  else {
    awaited = question;
    if (ports[question.place] === question.port) answer(question.place);
  }
});
// What there is but once, code above all, is not what a watch costs: so a few services that have nothing go first.
await scheme(
  url,
  Array.from({ length: 20 }, (_, place) => `${prefix}-none-${place}`),
  () => undefined,
);
await new Promise((resolve) => setTimeout(resolve, 200));
const before = memory();
const startedCpu = process.cpuUsage();
await scheme(url, services, (place, port) => {
  if (ports[place] === port) return;
  ports[place] = port;
  times[place] = process.hrtime.bigint();
  if (awaited?.place === place && awaited.port === port) answer(place);
});

process.on("disconnect", () => process.exit());
process.send?.(process.cpuUsage(startedCpu));

/** What is in use once everything that is not has been given back. */
function memory(): { readonly rss: number; readonly heapUsed: number } {
  for (let round = 0; round < 3; round++) globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return { rss, heapUsed };
}

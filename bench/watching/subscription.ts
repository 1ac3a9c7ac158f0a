import { type Child, child } from "../measuring/child.ts";

/** What a subscriber can be asked: the processor's time, its memory, or when it saw a port at a place. */
export type Question = "cpu" | "memory" | { readonly place: number; readonly port: number };

/** The memory of a process before its watches were made, and now; bytes, after a full collection. */
export interface Memory {
  readonly before: { readonly rss: number; readonly heapUsed: number };
  readonly now: { readonly rss: number; readonly heapUsed: number };
}

/** A process that watches `<prefix>-0`, `<prefix>-1`, …. */
export interface Subscription extends Pick<Child, "cpuMs" | "close"> {
  /** What making the watches took of a processor, in milliseconds. */
  readonly armedCpuMs: number;
  memory(): Promise<Memory>;
  /** Resolves with the time at which the process had the port, in nanoseconds, once it has it. */
  seen(place: number, port: number): Promise<bigint>;
}

/** Starts a subscriber; resolves when its watches stand. */
export async function subscription(
  registry: "consul" | "etcd",
  scheme: string,
  url: string,
  prefix: string,
  count = 1,
): Promise<Subscription> {
  const program = new URL("subscriber.ts", import.meta.url);
  const started = await child(program, [registry, scheme, url, prefix, String(count)], ["--expose-gc"]);
  const { user, system } = started.said as NodeJS.CpuUsage;
  return {
    armedCpuMs: (user + system) / 1_000,
    cpuMs: () => started.cpuMs(),
    close: () => started.close(),
    memory: async () => (await started.ask("memory")) as Memory,
    seen: async (place, port) => {
      const answered = (await started.ask({ place, port })) as { readonly nanos: string };
      return BigInt(answered.nanos);
    },
  };
}

import type { Backend } from "./backend.ts";
import { consul } from "./consul.ts";
import { dns } from "./dns.ts";
import { etcd } from "./etcd.ts";
import { zookeeper } from "./zookeeper.ts";

/** All registries that the suite knows, in the order of the table. */
export const backends: readonly Backend[] = [consul, etcd, zookeeper, dns];

/** @throws Error that lists the names there are. */
export function backendNamed(name: string, among: readonly Backend[] = backends): Backend {
  const found = among.find((backend) => backend.name === name);
  if (found !== undefined) return found;
  throw new Error(`no backend is called "${name}"; there are ${among.map((backend) => backend.name).join(", ")}`);
}

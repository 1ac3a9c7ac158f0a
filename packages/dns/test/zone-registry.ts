import {
  closable,
  createRegistry,
  type Env,
  type Instance,
  type InstanceInit,
  type Instancer,
  type Registry,
  type Snapshot,
} from "@rollcall/core";
import type { NameServer } from "@rollcall/testing/servers";

type Named = InstanceInit & { readonly id: string };

/** A zone as an operator, or whatever fills it, writes it. */
export class Zone {
  readonly #names: NameServer;
  readonly #records = new Map<string, Named>();
  #written: Promise<void> = Promise.resolve();

  constructor(names: NameServer) {
    this.#names = names;
  }

  put(...instances: readonly Named[]): Promise<void> {
    for (const instance of instances) this.#records.set(`${instance.id}.${instance.service}`, instance);
    return this.#write();
  }

  async remove(instance: Named): Promise<void> {
    const name = `${instance.id}.${instance.service}`;
    if (this.#records.get(name) !== instance) return;
    this.#records.delete(name);
    await this.#write();
  }

  clear(): Promise<void> {
    this.#records.clear();
    return this.#write();
  }

  #write(): Promise<void> {
    this.#written = this.#written
      .catch(() => undefined)
      .then(() =>
        this.#names.publish(
          [...this.#records].flatMap(([name, { service, host, port }]) => [
            `${service} 0 SRV 0 1 ${port} ${name}`,
            `${name} 0 A ${host}`,
          ]),
        ),
      );
    return this.#written;
  }
}

/**
 * A registry that reads by DNS, and announces past it, in the zone: so that the rules about reading can be checked. The
 * rules know instances by the ids that they gave them, which are the first label of the target.
 */
export function withZone(dns: Registry, zone: Zone, env: Partial<Env>): Registry {
  const writer = createRegistry({
    name: "zone",
    env,
    source: () => {
      throw new Error("nobody reads here");
    },
    sink: () => ({
      name: "zone",
      async register(instance) {
        await zone.put(instance);
        return { remove: () => zone.remove(instance) };
      },
    }),
  });
  return {
    name: dns.name,
    instancer: (query) => renamed(dns.instancer(query)),
    registrar: (init) => writer.registrar(init),
    ...closable(async () => {
      await Promise.all([dns.close(), writer.close()]);
    }),
  };
}

function renamed(instancer: Instancer): Instancer {
  const short = new WeakMap<Instance, Instance>();
  const seen = new WeakMap<Snapshot, Snapshot>();
  const shortOf = (instance: Instance): Instance => {
    const known = short.get(instance) ?? Object.freeze({ ...instance, id: instance.id.replace(/\..*/, "") });
    short.set(instance, known);
    return known;
  };
  return {
    service: instancer.service,
    get snapshot() {
      const { snapshot } = instancer;
      const known =
        seen.get(snapshot) ?? Object.freeze({ ...snapshot, instances: Object.freeze(snapshot.instances.map(shortOf)) });
      seen.set(snapshot, known);
      return known;
    },
    subscribe: (onChange) => instancer.subscribe(onChange),
    ...closable(() => instancer.close()),
  };
}

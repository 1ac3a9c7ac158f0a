import { Injectable } from "@nestjs/common";
import { InvalidOptionError, type Registry, is } from "@rollcall/core";
import { ApplicationAnnouncement } from "./application-announcement.ts";
import { type DiscoveryModuleOptions, checkModuleOptions } from "./discovery-options.ts";

/** One registry of the application, as one `DiscoveryModule` has brought it. */
export interface NamedRegistry {
  readonly name: string;
  readonly registry: Registry;
  readonly options: DiscoveryModuleOptions;
  /** The application's own instance in it. */
  readonly announcement: ApplicationAnnouncement;
}

/** Registries that a module made by the function it was given: those it closes again. */
const made = new WeakSet<Registry>();

/** The registry that options name or make. Rejects with `InvalidOptionError` for what is none. */
export async function makeRegistry(options: DiscoveryModuleOptions): Promise<Registry> {
  checkModuleOptions(options); // again for `forRoot`, first for what a factory of `forRootAsync` returned
  if (typeof options.registry !== "function") return options.registry;
  const registry = await options.registry();
  is.registry(registry, "registry()");
  made.add(registry);
  return registry;
}

/** All registries of the application, by name. */
@Injectable()
export class Registries {
  readonly #byName = new Map<string, NamedRegistry>();

  /** Throws `InvalidOptionError` for a name that there is already. */
  add(name: string, registry: Registry, options: DiscoveryModuleOptions): void {
    if (this.#byName.has(name)) {
      throw new InvalidOptionError("name", "a name that no other DiscoveryModule of the application has", name);
    }
    const announcement = new ApplicationAnnouncement(name, registry, options);
    this.#byName.set(name, { name, registry, options, announcement });
  }

  get(name: string): NamedRegistry | undefined {
    return this.#byName.get(name);
  }

  /** In the order in which they were brought. */
  all(): readonly NamedRegistry[] {
    return [...this.#byName.values()];
  }

  /** Closes those that modules made, or were told to close. Rejects if one of them does, after all have ended. */
  async close(): Promise<void> {
    const ours = this.all().filter(({ registry, options }) => options.closeRegistry ?? made.has(registry));
    // One registry may have several names.
    const ends = await Promise.allSettled(
      [...new Set(ours.map(({ registry }) => registry))].map((each) => each.close()),
    );
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }
}

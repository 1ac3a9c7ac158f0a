import type { Registry } from "@rollcall/core";
import { MOVING, type Scheme } from "./scheme.ts";

/** Ours: an instancer for each service. */
export function rollcall(open: (url: string, services: number) => Registry): Scheme {
  return async (url, services, seen) => {
    const registry = open(url, services.length);
    await Promise.all(
      services.map(
        (service, place) =>
          new Promise<void>((resolve) => {
            const instancer = registry.instancer(service);
            instancer.subscribe(() => {
              const { state, instances } = instancer.snapshot;
              if (state !== "live") return;
              seen(place, instances.find(({ id }) => id.endsWith(MOVING))?.port ?? 0);
              resolve();
            });
          }),
      ),
    );
  };
}

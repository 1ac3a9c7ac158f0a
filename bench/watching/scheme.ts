/**
 * A way of watching services, as an application would use it: `seen` is called with the place of a service in the list
 * and the port of its instance that moves, whenever that may have changed.
 *
 * Resolves when all watches stand and the present state is known.
 */
export type Scheme = (
  url: string,
  services: readonly string[],
  seen: (place: number, port: number) => void,
) => Promise<void>;

/** How the id of the instance ends that changes. All others stay as they are. */
export const MOVING = "-moving";

/** Before `/<service>/<id>` in etcd. */
export const PREFIX = "/bench";

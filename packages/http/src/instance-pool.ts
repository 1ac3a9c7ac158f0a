import { type Instance, address } from "@rollcall/core";
import { type Dispatcher, Pool } from "undici";
import { beingServed, whileServing } from "./call-chain.ts";

/** How an instance is spoken to. */
export type Protocol = "http" | "https";

/** The connections to one instance. */
export class InstancePool extends Pool {
  readonly #servername: string | undefined;

  constructor(origin: string, options: Pool.Options, servername: string | undefined) {
    super(origin, options);
    this.#servername = servername;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    // Without it undici would ask for the name in the request's Host header, which may come from anybody.
    const named = this.#servername === undefined ? options : { ...options, servername: this.#servername };
    // A connection lives on, and is not to hold on to the request that it was opened for.
    return beingServed() === undefined
      ? super.dispatch(named, handler)
      : whileServing(undefined, () => super.dispatch(named, handler));
  }
}

/** Makes the pool for an instance. Opens no connection before the first request. */
export function createPool(
  instance: Instance,
  protocol: Protocol,
  options: Pool.Options,
  servername: string | undefined,
): InstancePool {
  return new InstancePool(`${protocol}://${address(instance)}`, options, servername);
}

/**
 * Closes a pool that has drained, or whose time to do so is over: what still runs is cut off.
 *
 * The last response may end in the middle of undici's parser, which is not to find its socket gone when it returns.
 */
export async function destroyPool(pool: Pool): Promise<void> {
  await Promise.resolve();
  await pool.destroy();
}

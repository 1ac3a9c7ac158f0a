import { type Instance, address } from "@rollcall/core";
import { type Dispatcher, Pool } from "undici";
import type { TransferOptions } from "./transfer.ts";

/** How an instance is spoken to. */
export type Protocol = "http" | "https";

/** The connections to one instance. Every request that brings a {@link Transfer} goes through it. */
export class InstancePool extends Pool {
  override dispatch(options: TransferOptions, handler: Dispatcher.DispatchHandler): boolean {
    return super.dispatch(options, options.transfer === undefined ? handler : options.transfer.around(handler));
  }
}

/** Makes the pool for an instance. Opens no connection before the first request. */
export function createPool(instance: Instance, protocol: Protocol, options: Pool.Options): InstancePool {
  return new InstancePool(`${protocol}://${address(instance)}`, options);
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

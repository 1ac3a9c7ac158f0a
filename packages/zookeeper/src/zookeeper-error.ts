/** ZooKeeper refused, could not be reached, or said what cannot be understood. `cause` is the error below, if any. */
export class ZooKeeperError extends Error {
  override readonly name = "ZooKeeperError";
  /** ZooKeeper's own error code, if there was one: -101 is "no node", -102 is "no auth". */
  readonly code: number | undefined;

  constructor(message: string, options: { readonly cause?: unknown; readonly code?: number | undefined } = {}) {
    super(`ZooKeeper: ${message}`, { cause: options.cause });
    this.code = options.code;
  }
}

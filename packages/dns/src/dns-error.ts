/** No name server answered, or what it said is no answer. `cause` is the error below, if any. */
export class DnsError extends Error {
  override readonly name = "DnsError";
  /** What the server said instead of an answer (`SERVFAIL`, `REFUSED`), if it said anything. */
  readonly code: string | undefined;

  constructor(message: string, options: { readonly cause?: unknown; readonly code?: string | undefined } = {}) {
    super(`dns: ${message}`, { cause: options.cause });
    this.code = options.code;
  }
}

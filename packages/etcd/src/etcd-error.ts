import { status } from "@grpc/grpc-js";

/** etcd refused, could not be reached, or said what cannot be understood. `cause` is the error below, if any. */
export class EtcdError extends Error {
  override readonly name = "EtcdError";
  /** The gRPC status, as in `status` of `@grpc/grpc-js`, if there was one: 7 is "permission denied". */
  readonly code: number | undefined;

  constructor(message: string, options: { readonly cause?: unknown; readonly code?: number | undefined } = {}) {
    super(`etcd: ${message}`, { cause: options.cause });
    this.code = options.code;
  }
}

/** What etcd says about the request itself. Any other status is about the way to etcd, or about this member of it. */
const ANSWERS: ReadonlySet<number | undefined> = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.RESOURCE_EXHAUSTED,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.UNIMPLEMENTED,
  status.UNAUTHENTICATED,
]);

/** Whether the connection is to blame, so that the same request may do well on another one. */
export function isConnectionError(error: unknown): boolean {
  return !(error instanceof EtcdError && ANSWERS.has(error.code));
}

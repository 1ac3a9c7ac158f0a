import type { IncomingMessage, ServerResponse } from "node:http";

/** The header that names the instance which answered, so that a caller can see how calls are spread. */
export const INSTANCE_HEADER = "x-instance";

/** Middleware that puts {@link INSTANCE_HEADER} on every answer, also on those that go wrong. */
export function instanceHeader(instanceId: () => string) {
  return (_request: IncomingMessage, response: ServerResponse, next: () => void): void => {
    response.setHeader(INSTANCE_HEADER, instanceId());
    next();
  };
}

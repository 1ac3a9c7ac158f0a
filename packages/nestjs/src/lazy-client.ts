import { ClosedError, closable } from "@rollcall/core";
import type { HttpClient } from "@rollcall/http";

/** An {@link HttpClient} that is made later. */
export interface LazyClient extends HttpClient {
  /** Makes the client, which starts to discover at once. Only the first call does, and none after the end. */
  begin(): void;
}

/**
 * An `HttpClient` that `make` makes at `begin()` or at the first use, whichever comes first: Nest tells nobody when an
 * application could not be made, so what its providers have started goes on for ever. `service` names it in the
 * `ClosedError` of calls after its end. Closing it closes what was made; if nothing was, nothing is made any more.
 */
export function lazyClient(service: string, make: () => HttpClient): LazyClient {
  let made: HttpClient | undefined;
  let closed = false;
  const client = (): HttpClient => {
    if (made === undefined && closed) throw new ClosedError(`the client of "${service}"`);
    return (made ??= make());
  };
  return {
    begin: () => void (closed || client()),
    request: async (path, options) => client().request(path, options),
    fetch: async (input, init) => client().fetch(input, init),
    dispatch: (request, handler) => client().dispatch(request, handler),
    get timeoutMs() {
      return client().timeoutMs;
    },
    get endpoints() {
      return made === undefined && closed ? [] : client().endpoints;
    },
    ready: async (options) => client().ready(options),
    ...closable(async () => {
      closed = true;
      await made?.close();
    }),
  };
}

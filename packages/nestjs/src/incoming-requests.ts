import type { IncomingMessage } from "node:http";
import { Inject, Injectable } from "@nestjs/common";
import { HttpAdapterHost } from "@nestjs/core";
import { whileServing } from "@rollcall/http/server";
import { Registries } from "./registries.ts";

/**
 * Has every HTTP request of the application served inside of `whileServing`, so that what any client sends meanwhile
 * follows it. It comes before everything else: middleware, body parsing, guards, interceptors, and gateways that
 * `app.use()` mounts are inside, too.
 */
@Injectable()
export class IncomingRequests {
  readonly #registries: Registries;
  #followed: boolean | undefined;

  constructor(@Inject(Registries) registries: Registries, @Inject(HttpAdapterHost) host: HttpAdapterHost) {
    this.#registries = registries;
    // In tests the application gets its adapter after everything else was made; otherwise it is there already.
    host.init$.subscribe(() => {
      // Its type does not say so, but without an HTTP server there is none, as null or as undefined.
      const adapter: HttpAdapterHost["httpAdapter"] | null | undefined = host.httpAdapter;
      adapter?.use((request: IncomingMessage, _response: unknown, next: () => void) => {
        this.#followed ??= this.#registries.all().every(({ options }) => options.incoming !== false);
        if (this.#followed) whileServing(request, next);
        else next();
      });
    });
  }
}

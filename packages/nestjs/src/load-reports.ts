import { Inject, Injectable, type OnModuleInit } from "@nestjs/common";
import { HttpAdapterHost } from "@nestjs/core";
import { type HttpServer, loadReporter } from "@rollcall/http/server";
import { Registries } from "./registries.ts";

/**
 * Has every answer of the application's HTTP server report its load, if a module was told so. It listens to the server
 * itself, before everything else: the same on each adapter, and nothing that answers early is missed.
 */
@Injectable()
export class LoadReports implements OnModuleInit {
  readonly #registries: Registries;
  readonly #host: HttpAdapterHost;

  constructor(@Inject(Registries) registries: Registries, @Inject(HttpAdapterHost) host: HttpAdapterHost) {
    this.#registries = registries;
    this.#host = host;
  }

  onModuleInit(): void {
    // Its type does not say so, but without an HTTP server there is none, as null or as undefined.
    const adapter: HttpAdapterHost["httpAdapter"] | null | undefined = this.#host.httpAdapter;
    if (!this.#registries.all().some(({ options }) => options.loadReports === true)) return;
    const server = adapter?.getHttpServer() as HttpServer | undefined;
    server?.prependListener("request", loadReporter().watch);
  }
}

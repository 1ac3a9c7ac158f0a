import "reflect-metadata";
import type { Server } from "node:http";
import { NestFactory } from "@nestjs/core";
import { address, channels, type Closable, closable, messageOf, type Registry } from "@rollcall/core";
import { gateway } from "@rollcall/express";
import { SERVICE, urlOf } from "@rollcall/lorem-server";
import { getClientToken } from "@rollcall/nestjs";
import type { Express } from "express";
import { FailureFilter, loremClientModule } from "./lorem-client.module.ts";

/** Below this path is the whole service: `/api/health` is the `/health` of one of its servers. */
export const GATEWAY_PATH = "/api";

/** What {@link startLoremClient} needs and can be told. */
export interface LoremClientOptions {
  /** Where the servers are found. Stays the caller's. */
  readonly registry: Registry;
  /** Default 0: any free one. */
  readonly port?: number | undefined;
  /** The address to listen on. Default: all of them. */
  readonly host?: string | undefined;
  /** Told one line at a time what happens. */
  readonly print?: ((line: string) => void) | undefined;
}

/** A client that listens. */
export interface LoremClient extends Closable {
  readonly url: string;
  readonly http: Server;
  /** Stops accepting, lets the calls under way finish, and closes. */
  close(): Promise<void>;
}

/** Starts the lorem client. It needs no server and no registry to start: calls wait for them, as long as calls may. */
export async function startLoremClient(options: LoremClientOptions): Promise<LoremClient> {
  const { registry, port = 0, host, print = () => undefined } = options;
  const unsubscribe = channels.snapshotChanged.subscribe(({ service, snapshot }) => {
    if (service !== SERVICE) return;
    const known = snapshot.instances.map(address).join(", ") || "no instances";
    const reason = "error" in snapshot ? ` (${messageOf(snapshot.error)})` : "";
    print(`${service} is ${snapshot.state}: ${known}${reason}`);
  });
  try {
    const app = await NestFactory.create(loremClientModule(registry), { logger: false, abortOnError: false });
    const inner: Express = app.getHttpAdapter().getInstance();
    inner.disable("x-powered-by");
    // Before Nest reads any body: the gateway passes them on as they come.
    // It shares the client: what comes this way is counted in the same turns. A server keeps nothing of a request, so
    // all of them can be sent again.
    app.use(GATEWAY_PATH, gateway(SERVICE, { client: app.get(getClientToken(SERVICE)), idempotent: () => true }));
    app.useGlobalFilters(new FailureFilter());
    await (host === undefined ? app.listen(port) : app.listen(port, host)).catch(async (error: unknown) => {
      await app.close();
      throw error;
    });
    const http: Server = app.getHttpServer();
    const url = urlOf(http);
    print(`listening on ${url} (POST /sd-lorem, GET /sd-lorem/instances, ${GATEWAY_PATH}/…)`);
    const life = closable(async () => {
      await app.close();
      unsubscribe();
    });
    return { url, http, ...life };
  } catch (error) {
    unsubscribe();
    throw error;
  }
}

// An application in a process of its own, which prints one JSON array per line: what happened, and details. It takes its
// settings as JSON from its only argument. Node strips types but knows no decorators, so they are called here.
import "reflect-metadata";
import type { Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Controller, Get, type INestApplication, type INestMicroservice, Module, Res } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { Transport } from "@nestjs/microservices";
import { ExpressAdapter } from "@nestjs/platform-express";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import { createRegistry, untilAborted } from "@rollcall/core";
import { DiscoveryModule } from "@rollcall/nestjs";

/** What the test decides. */
export interface ChildSettings {
  readonly on: "express" | "fastify" | "tcp";
  readonly port?: number;
  readonly drainMs?: number;
  readonly graceMs?: number;
  /** What the registry does with registrations and with their removals. */
  readonly register?: "accept" | "hang";
  readonly remove?: "accept" | "hang";
  /** How long `onModuleInit` takes. */
  readonly initMs?: number;
}

const settings = JSON.parse(process.argv[2] ?? "{}") as ChildSettings;
const { on, port = 0, drainMs = 0, graceMs, initMs = 0 } = settings;

const tell = (...said: readonly unknown[]): void => void process.stdout.write(`${JSON.stringify(said)}\n`);

const never = Promise.withResolvers<void>().promise;
const registry = createRegistry({
  name: "told",
  source: () => ({ name: "told", watch: async function* () {} }),
  sink: () => ({
    name: "told",
    async register(instance, signal) {
      tell("registering");
      if (settings.register === "hang") await untilAborted(never, signal);
      tell("registered", instance.port);
      return {
        remove: async (inner) => {
          if (settings.remove === "hang") await untilAborted(never, inner);
          tell("deregistered");
        },
      };
    },
  }),
  close: async () => tell("registry closed"),
});

class ChildController {
  hang(answer: ServerResponse & { raw?: ServerResponse; hijack?: () => void }): void {
    answer.hijack?.(); // Fastify is told that the answer is made here
    (answer.raw ?? answer).write("begun");
    tell("hanging");
  }
  word(): string {
    return "lorem";
  }
}
for (const [method, path] of [
  ["hang", "/hang"],
  ["word", "/word"],
] as const) {
  const descriptor = Object.getOwnPropertyDescriptor(ChildController.prototype, method);
  if (descriptor !== undefined) Get(path)(ChildController.prototype, method, descriptor);
}
Res()(ChildController.prototype, "hang", 0);
Controller()(ChildController);

class ChildModule {
  async onModuleInit(): Promise<void> {
    tell("starting");
    await delay(initMs);
  }
  onApplicationShutdown(): void {
    tell("server closed");
  }
}
const register =
  on === "tcp" ? { service: "child", host: "127.0.0.1", port } : { service: "child", health: { path: "/health" } };
const discovery = DiscoveryModule.forRoot({ registry, closeRegistry: true, register, drainMs, graceMs });
Module({ imports: [discovery], controllers: [ChildController] })(ChildModule);

const options = { logger: false, abortOnError: false } as const;
const app: INestApplication | INestMicroservice =
  on === "tcp"
    ? await NestFactory.createMicroservice(ChildModule, {
        ...options,
        transport: Transport.TCP,
        options: { host: "127.0.0.1", port },
      })
    : await NestFactory.create(ChildModule, on === "fastify" ? new FastifyAdapter() : new ExpressAdapter(), options);
app.enableShutdownHooks();
try {
  if ("getHttpServer" in app) {
    await app.listen(port, "127.0.0.1");
    tell("listening", ((app.getHttpServer() as Server).address() as AddressInfo | null)?.port);
  } else {
    await app.listen();
    tell("listening", port);
  }
} catch (error) {
  tell("failed", Reflect.get(Object(error), "code"), String(error));
  await app.close();
}

import "reflect-metadata";
import { Body, Controller, Get, Header, Module, Post, StreamableFile } from "@nestjs/common";
import { type AbstractHttpAdapter, NestFactory } from "@nestjs/core";
import { DiscoveryModule } from "@rollcall/nestjs";
import { SERVED_BY } from "../work.ts";
import { HOST, type Serve, type Serving } from "./serve.ts";

/** A server on one of Nest's adapters. */
export function nestOn(adapter: () => AbstractHttpAdapter): Serve {
  return async (serving) => {
    const app = await NestFactory.create(moduleOf(serving), adapter(), { logger: ["warn", "error"] });
    app.enableShutdownHooks();
    await app.listen(serving.port, HOST);
  };
}

function moduleOf({ registry, service, drainMs, work, name }: Serving): object {
  class WorkController {
    small(): string {
      return work.small();
    }
    large(): string {
      return work.large();
    }
    feed(): StreamableFile {
      return new StreamableFile(work.feed());
    }
    order(body: unknown): string {
      return work.order(body);
    }
    orderFeed(body: unknown): StreamableFile {
      return new StreamableFile(work.orderFeed(body));
    }
  }
  // oxlint-disable-next-line typescript/no-extraneous-class -- a module is a class; its decorator comes below
  class WorkModule {}
  // Node strips types, but knows no decorators yet: this is what they do.
  const routes = {
    small: [Get("/small")],
    large: [Get("/large")],
    feed: [Get("/feed")],
    order: [Post("/orders")],
    orderFeed: [Post("/feeds")],
  } as const;
  const { prototype } = WorkController;
  for (const method of ["order", "orderFeed"]) Body()(prototype, method, 0);
  for (const [method, decorators] of Object.entries(routes)) {
    const descriptor = Object.getOwnPropertyDescriptor(prototype, method);
    Reflect.decorate([...decorators, Header(SERVED_BY, name)], prototype, method, descriptor);
  }
  Controller()(WorkController);
  const discovery = DiscoveryModule.forRoot({
    registry,
    closeRegistry: true,
    drainMs,
    register: { service, health: { path: "/health" } },
  });
  Module({ imports: [discovery], controllers: [WorkController] })(WorkModule);
  return WorkModule;
}

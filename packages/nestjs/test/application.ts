import { once } from "node:events";
import { type RequestListener, type Server, createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { Controller, type INestApplication, Module, type ModuleMetadata } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ExpressAdapter } from "@nestjs/platform-express";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import type { InstanceInit, Registry } from "@rollcall/core";
import { announce } from "@rollcall/http/server";
import { afterEach, vi } from "vitest";

/** The adapters that Nest comes with. */
export const ADAPTERS = ["express", "fastify"] as const;
export type Adapter = (typeof ADAPTERS)[number];

const make = { express: () => new ExpressAdapter(), fastify: () => new FastifyAdapter() } as const;

const open: { close(): Promise<unknown> }[] = [];

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close();
});

/** Closes this when the test is over, after whatever it opens later. */
export function closing<T extends { close(): Promise<unknown> }>(resource: T): T {
  open.push(resource);
  return resource;
}

/** A module with this in it. */
export function moduleOf(metadata: ModuleMetadata): new () => object {
  @Module(metadata)
  class TestModule {}
  return TestModule;
}

/** An application that does not listen yet. */
export async function application(
  metadata: ModuleMetadata,
  adapter: Adapter = "express",
): Promise<INestApplication<Server>> {
  const options = { logger: false, abortOnError: false } as const;
  const app: INestApplication<Server> = await NestFactory.create(moduleOf(metadata), make[adapter](), options);
  return closing(app);
}

/** Listens on a free port, and returns where. */
export async function listen(app: INestApplication<Server>): Promise<string> {
  await app.listen(0, "127.0.0.1");
  return `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}`;
}

/** An instance of a service that is no Nest application. */
export async function instanceOf(
  registry: Registry,
  said: Pick<InstanceInit, "service" | "tags">,
  onRequest: (...given: Parameters<RequestListener>) => unknown,
): Promise<void> {
  const server = createServer((request, response) => void onRequest(request, response)).listen(0, "127.0.0.1");
  closing(await announce(server, { ...said, registry, drainMs: 0, signals: false }));
}

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A controller with one method on it. */
export function controllerOf(
  ...decorated: readonly [MethodDecorator, (...given: never[]) => unknown][]
): new () => object {
  @Controller()
  class TestController {}
  for (const [index, [decorate, method]] of decorated.entries()) {
    const name = `method${index}`;
    Object.defineProperty(TestController.prototype, name, { value: method, configurable: true, writable: true });
    const descriptor = Object.getOwnPropertyDescriptor(TestController.prototype, name);
    if (descriptor !== undefined) decorate(TestController.prototype, name, descriptor);
  }
  return TestController;
}

/** Resolves when this does not throw any more. A busy machine takes its time. */
export function until<T>(check: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(check, 10_000);
}

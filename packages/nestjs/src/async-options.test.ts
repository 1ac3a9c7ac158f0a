import "reflect-metadata";
import { Injectable, Module } from "@nestjs/common";
import { type MemoryRegistry, memoryRegistry } from "@rollcall/core";
import type { HttpClient } from "@rollcall/http";
import { beforeEach, describe, expect, it } from "vitest";
import { application, closing, instanceOf, listen } from "../test/application.ts";
import {
  Announcer,
  type AsyncClientFeature,
  type AsyncFeatureOptions,
  DiscoveryModule,
  type DiscoveryModuleOptions,
  type ForRootAsyncOptions,
  type Instances,
  type OptionsFactory,
  getClientToken,
  getInstancesToken,
} from "./index.ts";

let registry: MemoryRegistry;

beforeEach(() => {
  registry = closing(memoryRegistry());
});

@Injectable()
class Settings {
  readonly service = "configured";
  readonly tag = "b";
}

@Module({ providers: [Settings], exports: [Settings] })
class SettingsModule {}

@Injectable()
class RootOptions implements OptionsFactory<DiscoveryModuleOptions> {
  async create(): Promise<DiscoveryModuleOptions> {
    return { registry, register: { service: "configured" }, drainMs: 0 };
  }
}

@Module({ providers: [RootOptions], exports: [RootOptions] })
class RootOptionsModule {}

describe("DiscoveryModule.forRootAsync", () => {
  it.each<[string, ForRootAsyncOptions]>([
    [
      "useFactory",
      {
        imports: [SettingsModule],
        inject: [Settings],
        useFactory: async ({ service }: Settings) => ({ registry, register: { service }, drainMs: 0 }),
      },
    ],
    ["useClass", { useClass: RootOptions }],
    ["useExisting", { imports: [RootOptionsModule], useExisting: RootOptions }],
  ])("takes options from %s", async (_, options) => {
    const app = await application({ imports: [DiscoveryModule.forRootAsync(options)] });
    await listen(app);
    await app.get(Announcer).ready();
    expect(registry.instances("configured")).toHaveLength(1);
  });

  it("says whose factory failed, and why", async () => {
    const useFactory = (): Promise<DiscoveryModuleOptions> => Promise.reject(new Error("vault is sealed"));
    const imports = [DiscoveryModule.forRootAsync({ name: "dc2", useFactory })];
    await expect(application({ imports })).rejects.toMatchObject({
      message: 'the options of the DiscoveryModule "dc2" could not be made: vault is sealed',
      cause: expect.objectContaining({ message: "vault is sealed" }),
    });
    const made = [DiscoveryModule.forRoot({ registry: () => Promise.reject(new Error("no such host")) })];
    await expect(application({ imports: made })).rejects.toThrow("no such host");
  });

  it.each<[string, unknown]>([
    ["options", undefined],
    ["options", null],
    ["registry", {}],
    ["drainMs", { drainMs: -1 }],
    ["name", { name: "dc2" }],
  ])("refuses a factory's wrong %s", async (path, wrong) => {
    const result = path === "options" || path === "registry" ? wrong : { registry, ...Object(wrong) };
    const imports = [DiscoveryModule.forRootAsync({ useFactory: () => result as DiscoveryModuleOptions })];
    await expect(application({ imports })).rejects.toMatchObject({ code: "INVALID_OPTION", path });
  });

  it.each<[string, unknown]>([
    ["options", undefined],
    ["options", {}],
    ["options", { useFactory: () => ({}), useClass: RootOptions }],
    ["useFactory", { useFactory: { registry: undefined } }],
    ["useClass", { useClass: "RootOptions" }],
    ["inject", { useClass: RootOptions, inject: [Settings] }],
    ["isGlobal", { useFactory: () => ({}), isGlobal: false }],
    ["useExisting", { useExisting: null }],
    ["inject", { useFactory: () => ({}), inject: Settings }],
    ["name", { useFactory: () => ({}), name: 2 }],
    ["registry", { useFactory: () => ({}), registry: "a" }],
  ])("refuses a wrong %s", (path, options) => {
    expect(() => DiscoveryModule.forRootAsync(options as ForRootAsyncOptions)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", path }),
    );
  });
});

describe("DiscoveryModule.forFeatureAsync", () => {
  @Injectable()
  class FeatureOptions implements OptionsFactory<AsyncFeatureOptions> {
    create(): AsyncFeatureOptions {
      return { service: "lorem", tags: ["b"] };
    }
  }

  @Module({ providers: [FeatureOptions], exports: [FeatureOptions] })
  class FeatureOptionsModule {}

  it.each<[string, AsyncClientFeature]>([
    [
      "useFactory",
      {
        name: "lorem",
        imports: [SettingsModule],
        inject: [Settings],
        useFactory: ({ tag }: Settings) => Promise.resolve({ tags: [tag] }),
      },
    ],
    ["useClass", { name: "other", useClass: FeatureOptions }],
    ["useExisting", { name: "third", imports: [FeatureOptionsModule], useExisting: FeatureOptions }],
  ])("makes a client and a view of the options of %s", async (_, feature) => {
    await instanceOf(registry, { service: "lorem", tags: ["a"] }, (_request, response) => response.end("a"));
    await instanceOf(registry, { service: "lorem", tags: ["b"] }, (_request, response) => response.end("b"));
    const app = await application({
      imports: [DiscoveryModule.forRoot({ registry }), DiscoveryModule.forFeatureAsync(feature)],
    });
    const client: HttpClient = app.get(getClientToken(feature.name));
    for (let n = 0; n < 3; n++) expect(await (await client.request("/")).body.text()).toBe("b");
    expect([...app.get<Instances>(getInstancesToken(feature.name))]).toHaveLength(1);
  });

  it("says whose factory failed, and what it returned that cannot work", async () => {
    const start = (useFactory: () => AsyncFeatureOptions): Promise<unknown> =>
      application({
        imports: [
          DiscoveryModule.forRoot({ registry }),
          DiscoveryModule.forFeatureAsync({ name: "lorem", useFactory }),
        ],
      });
    const fail = (): never => {
      throw new Error("no configuration");
    };
    await expect(start(fail)).rejects.toThrow('the options of the feature "lorem" could not be made: no configuration');
    const wrong = { retry: { timeoutMs: -1 } };
    const path = "forFeatureAsync(lorem)";
    await expect(start(() => wrong)).rejects.toMatchObject({ code: "INVALID_OPTION", path: `${path}.retry.timeoutMs` });
    await expect(start(() => undefined as unknown as AsyncFeatureOptions)).rejects.toMatchObject({ path });
  });

  it.each<[string, unknown]>([
    ["feature", undefined],
    ["name", { useFactory: () => ({}) }],
    ["options", { name: "lorem" }],
    ["service", { name: "lorem", service: "lorem", useFactory: () => ({}) }],
    ["registry", { name: "lorem", registry: 1, useFactory: () => ({}) }],
  ])("refuses a wrong %s", (path, feature) => {
    expect(() => DiscoveryModule.forFeatureAsync(feature as AsyncClientFeature)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", path }),
    );
  });
});

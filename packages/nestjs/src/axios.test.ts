import "reflect-metadata";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { HttpService } from "@nestjs/axios";
import { Injectable, Module } from "@nestjs/common";
import { type MemoryRegistry, memoryRegistry } from "@rollcall/core";
import { type AxiosError, isAxiosError } from "axios";
import { firstValueFrom, timeout } from "rxjs";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { application, closing, freePort, instanceOf, until } from "../test/application.ts";
import { DiscoveryHttpModule, type DiscoveryHttpModuleOptions } from "./axios.ts";
import { DiscoveryModule } from "./index.ts";

let registry: MemoryRegistry;

beforeEach(() => {
  registry = closing(memoryRegistry());
});

async function service(options: DiscoveryHttpModuleOptions = {}): Promise<HttpService> {
  const imports = [DiscoveryModule.forRoot({ registry }), DiscoveryHttpModule.register(options)];
  const app = await application({ imports });
  return app.get(HttpService);
}

/** What an observable fails with. */
const failure = (of: Promise<unknown>): Promise<AxiosError> =>
  of.then(
    () => expect.unreachable("it succeeded"),
    (error: unknown) => {
      if (!isAxiosError(error)) throw error;
      return error;
    },
  );

describe("DiscoveryHttpModule", () => {
  it("balances http://<service>/…, with axios' own conveniences", async () => {
    for (const name of ["a", "b"]) {
      await instanceOf(registry, { service: "lorem" }, async (request, response) => {
        const chunks = await request.toArray();
        const { method, url, headers } = request;
        const said = { name, method, url, body: Buffer.concat(chunks).toString(), mark: headers["x-mark"] };
        response.setHeader("content-type", "application/json").end(JSON.stringify(said));
      });
    }
    const http = await service({ headers: { "x-mark": "all" } });
    const names: string[] = [];
    for (let n = 0; n < 4; n++) {
      const { data } = await firstValueFrom(http.get<{ name: string }>("http://lorem/words", { params: { n: 1 } }));
      expect(data).toMatchObject({ method: "GET", url: "/words?n=1", mark: "all" });
      names.push(data.name);
    }
    expect(names.toSorted()).toEqual(["a", "a", "b", "b"]);
    const posted = await firstValueFrom(http.post("http://lorem/words", { word: "ipsum" }));
    expect([posted.status, posted.data.method, posted.data.body]).toEqual([200, "POST", '{"word":"ipsum"}']);
    const stream = await firstValueFrom(http.get<ReadableStream>("http://lorem/", { responseType: "stream" }));
    expect(await new Response(stream.data).json()).toMatchObject({ method: "GET" });
  });

  it("calls other hosts as they are", async () => {
    const other = createServer((_, response) => response.end("other")).listen(0, "127.0.0.1");
    await once(other, "listening");
    onTestFinished(() => void other.close());
    const http = await service();
    const { port } = other.address() as AddressInfo;
    expect((await firstValueFrom(http.get(`http://127.0.0.1:${port}/`))).data).toBe("other");
  });

  it("sends again what was refused, also a POST", async () => {
    const port = await freePort();
    await closing(registry.registrar({ service: "lorem", host: "127.0.0.1", port })).register();
    const bodies: string[] = [];
    await instanceOf(registry, { service: "lorem" }, async (request, response) => {
      bodies.push(Buffer.concat(await request.toArray()).toString());
      response.end("ok");
    });
    const http = await service();
    for (let n = 0; n < 4; n++) {
      expect((await firstValueFrom(http.post("http://lorem/", { n }))).data).toBe("ok");
    }
    expect(bodies).toEqual([0, 1, 2, 3].map((n) => JSON.stringify({ n })));
  });

  it("fails as axios does: with a status, or with what discovery says as the cause", async () => {
    await instanceOf(registry, { service: "lorem" }, (_, response) => response.writeHead(404).end("no such word"));
    const http = await service({ discovery: { defaults: { retry: { maxAttempts: 1, timeoutMs: 1_000 } } } });
    const missing = await failure(firstValueFrom(http.get("http://lorem/")));
    expect([missing.code, missing.response?.status, missing.response?.data]).toEqual([
      "ERR_BAD_REQUEST",
      404,
      "no such word",
    ]);
    const nobody = await failure(firstValueFrom(http.get("http://nobody/")));
    expect([nobody.code, nobody.response, nobody.cause]).toEqual([
      "RETRY",
      undefined,
      expect.objectContaining({ code: "RETRY", errors: [expect.objectContaining({ code: "NO_ENDPOINTS" })] }),
    ]);
  });

  it("ends with axios' time-out, and with whoever unsubscribes", async () => {
    let cut = 0;
    const asked = vi.fn<() => void>();
    await instanceOf(registry, { service: "lorem" }, (_, response) => {
      asked();
      response.once("close", () => cut++);
    });
    const http = await service({ timeout: 100 });
    const late = await failure(firstValueFrom(http.get("http://lorem/")));
    expect(late.code).toMatch(/ECONNABORTED|ETIMEDOUT/);
    await until(() => expect(cut).toBe(1));
    const subscription = http.get("http://lorem/", { timeout: 0 }).subscribe();
    await until(() => expect(asked).toHaveBeenCalledTimes(2));
    subscription.unsubscribe();
    await until(() => expect(cut).toBe(2));
    await expect(firstValueFrom(http.get("http://lorem/", { timeout: 0 }).pipe(timeout(100)))).rejects.toThrow(
      "Timeout",
    );
    await until(() => expect(cut).toBe(3));
    const aborted = AbortSignal.abort();
    expect((await failure(firstValueFrom(http.get("http://lorem/", { signal: aborted })))).code).toBe("ERR_CANCELED");
    expect(asked).toHaveBeenCalledTimes(3);
  });

  it("runs axios' interceptors, around all attempts", async () => {
    let calls = 0;
    await instanceOf(registry, { service: "lorem" }, ({ headers }, response) => {
      response.writeHead(++calls === 1 ? 503 : 200).end(headers.authorization);
    });
    const http = await service();
    const requests = vi.fn<() => void>();
    http.axiosRef.interceptors.request.use((config) => {
      requests();
      config.headers.set("authorization", "Bearer lorem");
      return config;
    });
    http.axiosRef.interceptors.response.use((response) => ({ ...response, data: `<${response.data}>` }));
    expect((await firstValueFrom(http.get("http://lorem/"))).data).toBe("<Bearer lorem>");
    expect([requests.mock.calls.length, calls]).toEqual([1, 2]);
  });

  it("hands on what balancing needs besides, by fetchOptions", async () => {
    let calls = 0;
    await instanceOf(registry, { service: "lorem" }, (_, response) => {
      response.writeHead(++calls % 2 === 1 ? 503 : 200).end();
    });
    const http = await service();
    const post = async (fetchOptions: object): Promise<number> =>
      (await firstValueFrom(http.post("http://lorem/", "a", { fetchOptions, validateStatus: () => true }))).status;
    expect([await post({}), calls]).toEqual([503, 1]);
    calls = 0;
    expect([await post({ idempotent: true }), calls]).toEqual([200, 2]);
  });

  it("takes its options from a factory, and a registry by its name; ends with the application", async () => {
    const other = closing(memoryRegistry());
    await instanceOf(other, { service: "lorem" }, ({ url }, response) => response.end(url));
    @Injectable()
    class Settings {
      readonly baseURL = "http://lorem";
    }
    @Module({ providers: [Settings], exports: [Settings] })
    class SettingsModule {}
    @Injectable()
    class Words {
      constructor(readonly http: HttpService) {}
    }
    const app = await application({
      imports: [
        DiscoveryModule.forRoot({ registry }),
        DiscoveryModule.forRoot({ name: "dc2", registry: other }),
        DiscoveryHttpModule.registerAsync({
          registry: "dc2",
          imports: [SettingsModule],
          inject: [Settings],
          useFactory: async ({ baseURL }: Settings) => ({ baseURL }),
        }),
      ],
      providers: [Words],
    });
    const { http } = app.get(Words);
    expect((await firstValueFrom(http.get("/words"))).data).toBe("/words");
    await app.close();
    const closed = await failure(firstValueFrom(http.get("/words")));
    expect(closed.cause).toMatchObject({ code: "CLOSED" });
  });

  it("follows no redirect where axios is told to follow none", async () => {
    await instanceOf(registry, { service: "lorem" }, ({ url }, response) => {
      if (url === "/moved") response.writeHead(302, { location: "/" }).end();
      else response.end("followed");
    });
    const plain = await service();
    expect((await firstValueFrom(plain.get("http://lorem/moved"))).data).toBe("followed");
    const http = await service({ maxRedirects: 0 });
    expect((await failure(firstValueFrom(http.get("http://lorem/moved")))).response?.status).toBe(302);
  });

  it("can be global", async () => {
    @Injectable()
    class Words {
      constructor(readonly http: HttpService) {}
    }
    @Module({ providers: [Words] })
    class WordsModule {}
    const imports = [
      DiscoveryModule.forRoot({ registry }),
      DiscoveryHttpModule.register({ global: true }),
      WordsModule,
    ];
    const app = await application({ imports });
    expect(app.get(Words).http).toBeInstanceOf(HttpService);
  });

  it("refuses what cannot work", async () => {
    const wrong: [string, unknown][] = [
      ["adapter", { adapter: "http" }],
      ["env.fetch", { env: { fetch } }],
      ["options", null],
      ["maxRedirects", { maxRedirects: 5 }],
      ["httpAgent", { httpAgent: {} }],
      ["proxy", { proxy: false }],
      ["registry", { registry: "" }],
    ];
    for (const [path, options] of wrong) {
      expect(() => DiscoveryHttpModule.register(options as DiscoveryHttpModuleOptions)).toThrow(
        expect.objectContaining({ code: "INVALID_OPTION", path }),
      );
    }
    await expect(service({ discovery: { services: [" "] } })).rejects.toMatchObject({
      code: "INVALID_OPTION",
      path: "services",
    });
    const useFactory = (): never => {
      throw new Error("no configuration");
    };
    const imports = [DiscoveryModule.forRoot({ registry }), DiscoveryHttpModule.registerAsync({ useFactory })];
    await expect(application({ imports })).rejects.toThrow(
      "the options of the DiscoveryHttpModule could not be made: no configuration",
    );
  });
});

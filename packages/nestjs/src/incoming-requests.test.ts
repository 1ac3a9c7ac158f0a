import "reflect-metadata";
import {
  Body,
  type CallHandler,
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  Inject,
  Injectable,
  Module,
  type NestInterceptor,
  Post,
  type Type,
  UseGuards,
  UseInterceptors,
} from "@nestjs/common";
import { HttpService } from "@nestjs/axios";
import { ExpressAdapter } from "@nestjs/platform-express";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import { Test } from "@nestjs/testing";
import { type MemoryRegistry, isDiscoveryError, memoryRegistry } from "@rollcall/core";
import type { HttpClient } from "@rollcall/http";
import { type Observable, firstValueFrom, mergeMap } from "rxjs";
import { beforeEach, describe, expect, it } from "vitest";
import { ADAPTERS, type Adapter, application, closing, instanceOf, listen } from "../test/application.ts";
import { DiscoveryHttpModule } from "./axios.ts";
import { DiscoveryModule, type ForRootOptions, InjectClient } from "./index.ts";

let registry: MemoryRegistry;
/** How often the service behind was asked; it never says anything but 503. */
let asked: number;

beforeEach(async () => {
  registry = closing(memoryRegistry());
  asked = 0;
  await instanceOf(registry, { service: "lorem" }, (request, response) => {
    asked++;
    if (request.url !== "/hang") response.writeHead(503).end();
  });
});

const statusOf = async (client: HttpClient): Promise<number> => (await client.fetch("/")).status;

@Injectable()
class AskingGuard implements CanActivate {
  constructor(@InjectClient("lorem") readonly lorem: HttpClient) {}
  async canActivate(): Promise<boolean> {
    return (await statusOf(this.lorem)) === 503;
  }
}

@Injectable()
class AskingInterceptor implements NestInterceptor {
  constructor(@InjectClient("lorem") readonly lorem: HttpClient) {}
  intercept(_: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(mergeMap(() => statusOf(this.lorem)));
  }
}

@Controller()
class AskingController {
  constructor(
    @InjectClient("lorem") readonly lorem: HttpClient,
    @Inject(HttpService) readonly http: HttpService,
  ) {}

  @Get("/plain")
  plain(): Promise<number> {
    return statusOf(this.lorem);
  }

  @Post("/parsed")
  parsed(@Body() body: object): Promise<unknown> {
    return statusOf(this.lorem).then((status) => ({ ...body, status }));
  }

  @Get("/guarded")
  @UseGuards(AskingGuard)
  guarded(): string {
    return "in";
  }

  @Get("/intercepted")
  @UseInterceptors(AskingInterceptor)
  intercepted(): string {
    return "in";
  }

  @Get("/axios")
  async axios(): Promise<number> {
    return (await firstValueFrom(this.http.get("http://lorem/", { validateStatus: () => true }))).status;
  }

  @Get("/hang")
  async hang(): Promise<string> {
    const startedMs = performance.now();
    try {
      await this.lorem.fetch("/hang");
      return "answered";
    } catch (error) {
      const reason = isDiscoveryError(error, "RETRY") ? String(Reflect.get(Object(error), "reason")) : String(error);
      return `${reason} ${performance.now() - startedMs < 2_000 ? "in time" : "too late"}`;
    }
  }
}

function appModule(options: Partial<ForRootOptions> = {}): Type {
  @Module({
    imports: [
      DiscoveryModule.forRoot({ registry, ...options }),
      DiscoveryModule.forFeature("lorem"),
      DiscoveryHttpModule.register(),
    ],
    controllers: [AskingController],
    providers: [AskingGuard, AskingInterceptor],
  })
  class AppModule {}
  return AppModule;
}

const REPEATED = { "x-rollcall-attempt": "2" };

describe.each(ADAPTERS)("a request that is served on %s", (adapter: Adapter) => {
  it.each<[string, RequestInit]>([
    ["/plain", {}],
    ["/parsed", { method: "POST", headers: { "content-type": "application/json" }, body: '{"word":"ipsum"}' }],
    ["/guarded", {}],
    ["/intercepted", {}],
    ["/axios", {}],
  ])("if it was repeated, nothing is repeated for it: %s", async (path, init) => {
    const app = await application({ imports: [appModule()] }, adapter);
    app.setGlobalPrefix("api");
    const url = `${await listen(app)}/api${path}`;
    const first = await fetch(url, init);
    await first.text();
    expect([first.ok, asked]).toEqual([true, 3]);
    const again = await fetch(url, { ...init, headers: { ...Object(init.headers), ...REPEATED } });
    await again.text();
    expect([again.ok, asked]).toEqual([true, 4]);
  });

  it("keeps its context while its body comes in pieces, beside that of others on the same connection", async () => {
    const app = await application({ imports: [appModule()] }, adapter);
    const url = await listen(app);
    const post = async (headers: Record<string, string>): Promise<number> => {
      const before = asked;
      const body = new ReadableStream<Uint8Array>({
        async start(controller) {
          for (const piece of ['{"word":', '"', "ipsum".repeat(20_000), '"}']) {
            controller.enqueue(new TextEncoder().encode(piece));
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
          controller.close();
        },
      });
      const init = {
        method: "POST",
        body,
        duplex: "half",
        headers: { "content-type": "application/json", ...headers },
      };
      expect((await fetch(`${url}/parsed`, init as RequestInit)).status).toBe(201);
      return asked - before;
    };
    expect([await post(REPEATED), await post({}), await post(REPEATED)]).toEqual([1, 3, 1]);
  });

  it("bounds what is sent for it by its deadline", async () => {
    const app = await application({ imports: [appModule()] }, adapter);
    const answer = await fetch(`${await listen(app)}/hang`, { headers: { "x-rollcall-deadline-ms": "300" } });
    expect(await answer.text()).toBe("deadline in time");
  });

  it("can be left alone", async () => {
    const app = await application({ imports: [appModule({ incoming: false })] }, adapter);
    await (await fetch(`${await listen(app)}/plain`, { headers: REPEATED })).text();
    expect(asked).toBe(3);
  });

  it("is followed in end-to-end tests, too", async () => {
    const testing = await Test.createTestingModule({ imports: [appModule()] }).compile();
    const app = closing(
      testing.createNestApplication(adapter === "express" ? new ExpressAdapter() : new FastifyAdapter()),
    );
    await app.listen(0, "127.0.0.1");
    await (await fetch(`${await app.getUrl()}/plain`, { headers: REPEATED })).text();
    expect(asked).toBe(1);
  });
});

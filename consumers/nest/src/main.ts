// A Nest application as `nest new` lays it out: announced, with its health, and with two kinds of balanced clients that
// call the application itself.
import { HttpService } from "@nestjs/axios";
import { Controller, Get, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { HealthCheck, HealthCheckService, TerminusModule } from "@nestjs/terminus";
import { memoryRegistry } from "@rollcall/core";
import type { HttpClient } from "@rollcall/http";
import { DiscoveryModule, InjectClient } from "@rollcall/nestjs";
import { DiscoveryHttpModule } from "@rollcall/nestjs/axios";
import { DiscoveryHealthIndicator } from "@rollcall/nestjs/terminus";
import { firstValueFrom } from "rxjs";

@Controller()
class AppController {
  constructor(
    @InjectClient("hello") private readonly hello: HttpClient,
    private readonly http: HttpService,
    private readonly health: HealthCheckService,
    private readonly discovery: DiscoveryHealthIndicator,
  ) {}

  @Get("/word")
  word(): { message: string } {
    return { message: "hello" };
  }

  @Get("/asked")
  async asked(): Promise<unknown> {
    return (await this.hello.fetch("/word")).json();
  }

  @Get("/axios")
  async axios(): Promise<{ message: string }> {
    return (await firstValueFrom(this.http.get<{ message: string }>("http://hello/word"))).data;
  }

  @Get("/checked")
  @HealthCheck()
  async checked(): Promise<{ status: string }> {
    const { status } = await this.health.check([() => this.discovery.isHealthy("discovery")]);
    return { status };
  }
}

@Module({
  imports: [
    DiscoveryModule.forRoot({
      registry: () => memoryRegistry(),
      register: { service: "hello", health: { path: "/health" } },
      drainMs: 0,
    }),
    DiscoveryModule.forFeature("hello"),
    DiscoveryHttpModule.register({ timeout: 2_000 }),
    TerminusModule,
  ],
  controllers: [AppController],
  providers: [DiscoveryHealthIndicator],
})
class AppModule {}

const PATHS = ["/health", "/word", "/asked", "/axios", "/checked"];
const WORD = '{"message":"hello"}';
const OK = '{"status":"ok"}';

async function bootstrap(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: false, abortOnError: false });
  await app.listen(0, "127.0.0.1");
  const url = await app.getUrl();
  const said: string[] = [];
  for (const path of PATHS) said.push(await (await fetch(url + path)).text());
  await app.close();
  if (said.join() !== [OK, WORD, WORD, WORD, OK].join()) throw new Error(said.join());
  process.stdout.write("ok\n");
}

void bootstrap();

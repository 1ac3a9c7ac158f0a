// A Nest application as `nest new` lays it out: announced, and with a balanced client that calls the application itself.
import { Controller, Get, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { memoryRegistry } from "@rollcall/core";
import type { HttpClient } from "@rollcall/http";
import { DiscoveryModule, InjectClient } from "@rollcall/nestjs";

@Controller()
class AppController {
  constructor(@InjectClient("hello") private readonly hello: HttpClient) {}

  @Get("/word")
  word(): { message: string } {
    return { message: "hello" };
  }

  @Get("/asked")
  async asked(): Promise<unknown> {
    return (await this.hello.fetch("/word")).json();
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
  ],
  controllers: [AppController],
})
class AppModule {}

async function bootstrap(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: false, abortOnError: false });
  await app.listen(0, "127.0.0.1");
  const url = await app.getUrl();
  const said: string[] = [];
  for (const path of ["/health", "/word", "/asked"]) said.push(await (await fetch(url + path)).text());
  await app.close();
  if (said.join() !== '{"status":"ok"},{"message":"hello"},{"message":"hello"}') throw new Error(said.join());
  process.stdout.write("ok\n");
}

void bootstrap();

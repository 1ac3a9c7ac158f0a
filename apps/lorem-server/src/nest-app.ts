import "reflect-metadata";
import {
  type ArgumentsHost,
  Catch,
  Controller,
  type DynamicModule,
  type ExceptionFilter,
  HttpCode,
  type INestApplication,
  Module,
  Param,
  Post,
} from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { DiscoveryModule, type DiscoveryModuleOptions } from "@rollcall/nestjs";
import type { Express, Response } from "express";
import { errorAnswer } from "./error-answer.ts";
import { instanceHeader } from "./instance-header.ts";
import { lorem, parseLoremRequest } from "./lorem-request.ts";

/** The service as a Nest controller. */
@Controller()
export class LoremController {
  @Post("/lorem/:type/:min/:max")
  @HttpCode(200)
  lorem(@Param("type") type: string, @Param("min") min: string, @Param("max") max: string): { message: string } {
    return { message: lorem(parseLoremRequest(type, min, max)) };
  }
}

/** Answers whatever was thrown in the one form that all errors have. */
@Catch()
export class ErrorFilter implements ExceptionFilter {
  catch(error: unknown, host: ArgumentsHost): void {
    const { status, body } = errorAnswer(error);
    host.switchToHttp().getResponse<Response>().status(status).json(body);
  }
}

@Module({ controllers: [LoremController] })
export class LoremModule {}

/** The service as a Nest application: the same answers as the Express one. It does not listen yet. */
export async function nestApp(instanceId: () => string, options: DiscoveryModuleOptions): Promise<INestApplication> {
  const announced: DynamicModule = { module: LoremModule, imports: [DiscoveryModule.forRoot(options)] };
  const app = await NestFactory.create(announced, {
    logger: false,
    // It reads no bodies, and what it does not read cannot be malformed.
    bodyParser: false,
    abortOnError: false,
  });
  const inner: Express = app.getHttpAdapter().getInstance();
  inner.disable("x-powered-by");
  app.use(instanceHeader(instanceId));
  app.useGlobalFilters(new ErrorFilter());
  return app;
}

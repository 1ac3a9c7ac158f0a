import {
  type ArgumentsHost,
  Catch,
  Controller,
  type DynamicModule,
  type ExceptionFilter,
  Get,
  Module,
} from "@nestjs/common";
import { type Registry, roundRobin } from "@rollcall/core";
import { SERVICE, TAGS } from "@rollcall/lorem-server";
import { DiscoveryModule } from "@rollcall/nestjs";
import type { Response } from "express";
import { callerAnswer } from "./caller-answer.ts";
import { SdLoremController } from "./sd-lorem.controller.ts";

/**
 * Three attempts in three seconds. A server answers within milliseconds; one that has said nothing for a second may be
 * gone together with its network, which refuses nothing any more, and another one is asked.
 */
const RETRY = { maxAttempts: 3, timeoutMs: 3_000, attemptTimeoutMs: 1_000 } as const;

@Controller()
export class HealthController {
  /** It is well when it answers: a client whose servers are away is no client to restart. */
  @Get("/health")
  health(): { readonly status: string } {
    return { status: "ok" };
  }
}

/** Answers whatever was thrown in the one form that all errors have. */
@Catch()
export class FailureFilter implements ExceptionFilter {
  catch(error: unknown, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse<Response>();
    // The caller left, and the call was given up for that reason: there is nobody to tell.
    if (response.closed) return;
    const { status, body } = callerAnswer(error);
    response.status(status).json(body);
  }
}

@Module({ controllers: [HealthController, SdLoremController] })
export class LoremClientModule {}

/** The application, with a client that finds its servers in this registry. */
export function loremClientModule(registry: Registry): DynamicModule {
  return {
    module: LoremClientModule,
    imports: [
      DiscoveryModule.forRoot({ registry }),
      // In turns, so that everybody sees whose turn it is; the default would ask whoever it expects to answer first.
      DiscoveryModule.forFeature({ service: SERVICE, tags: TAGS, policy: roundRobin(), retry: RETRY }),
    ],
  };
}

import { FastifyAdapter } from "@nestjs/platform-fastify";
import { nestOn } from "./nest.ts";

export const serve = nestOn(() => new FastifyAdapter());

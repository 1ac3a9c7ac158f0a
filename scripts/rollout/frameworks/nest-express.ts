import { ExpressAdapter } from "@nestjs/platform-express";
import { nestOn } from "./nest.ts";

export const serve = nestOn(() => new ExpressAdapter());

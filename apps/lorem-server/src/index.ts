export { integer, oneOf, readSettings, type Setting, type Settings, usage, UsageError } from "./command-line.ts";
export { errorAnswer, type ErrorAnswer } from "./error-answer.ts";
export { INSTANCE_HEADER } from "./instance-header.ts";
export { BadRequest, type LoremRequest, parseLoremRequest } from "./lorem-request.ts";
export {
  type Framework,
  type LoremServer,
  type LoremServerOptions,
  SERVICE,
  startLoremServer,
  TAGS,
  urlOf,
} from "./lorem-server.ts";
export { registryFromUrl } from "./registry-from-url.ts";
export { type Running, runApp } from "./run-app.ts";

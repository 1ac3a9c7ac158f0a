import { health } from "@rollcall/express";
import express, { type ErrorRequestHandler, type Express } from "express";
import { errorAnswer, notFound } from "./error-answer.ts";
import { instanceHeader } from "./instance-header.ts";
import { lorem, parseLoremRequest } from "./lorem-request.ts";

/** The service as an Express application: the same answers as the Nest one. */
export function expressApp(instanceId: () => string): Express {
  const app = express();
  app.disable("x-powered-by");
  app.use(instanceHeader(instanceId));
  app.get("/health", health());
  app.post("/lorem/:type/:min/:max", ({ params }, response) => {
    response.json({ message: lorem(parseLoremRequest(params.type, params.min, params.max)) });
  });
  app.use(({ method, originalUrl }) => {
    throw notFound(method, originalUrl);
  });
  app.use(answerError);
  return app;
}

/** Express knows an error handler by its four parameters. */
const answerError: ErrorRequestHandler = (error, _request, response, next) => {
  if (response.headersSent) return next(error);
  const { status, body } = errorAnswer(error);
  response.status(status).json(body);
};

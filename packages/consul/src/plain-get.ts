import * as http from "node:http";
import * as https from "node:https";
import type { Writable } from "node:stream";
import type { ConsulRequest } from "./client.ts";

/** Whoever asks. It hears once what came of it. */
export interface Asker {
  /** Gets the body, whatever the status. Called when an answer begins: until then there is nothing to hold. */
  body(): Writable;
  answered(headers: http.IncomingHttpHeaders): void;
  failed(error: unknown): void;
}

/** Sends a request. To destroy what it returns ends it at once, and closes its socket. */
export type PlainGet = (
  request: Pick<ConsulRequest, "path" | "params" | "query" | "headers">,
  asker: Asker,
) => http.ClientRequest;

/**
 * The client's own verb for reading, without what that does besides: merging options, encoding, and logging cost as much
 * as the rest of a poll together, and a poll is what a subscriber waits for. It fails as the client does: an answer that
 * is not 2xx has `isResponse` and `statusCode`, everything else is Node's own error.
 *
 * @param base Where `path` begins; without a slash at the end.
 */
export function plainGet(base: URL, agent: http.Agent): PlainGet {
  const { request } = base.protocol === "https:" ? https : http;
  const user = [base.username, base.password].filter((part) => part !== "").map(decodeURIComponent);
  const common = {
    agent,
    host: base.hostname,
    port: base.port || (base.protocol === "https:" ? 443 : 80),
    ...(user.length === 0 ? {} : { auth: user.join(":") }),
  };
  return ({ path, params, query, headers }, asker) => {
    const place = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));
    const search = Object.entries(query)
      .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
      .join("&");
    return sent(request({ ...common, path: `${base.pathname}${place}${search && "?"}${search}`, headers }), asker);
  };
}

/** A function of its own, for what listens holds all that is in sight. */
function sent(request: http.ClientRequest, asker: Asker): http.ClientRequest {
  // The error comes whether there is a socket already or not, and after an answer has begun, too.
  request.on("error", (error) => asker.failed(error));
  request.on("response", (response) => {
    const { statusCode = 0, headers } = response;
    response.on("end", () => {
      if (Math.floor(statusCode / 100) === 2) asker.answered(headers);
      else asker.failed(Object.assign(new Error(`status ${statusCode}`), { isResponse: true, statusCode }));
    });
    response.pipe(asker.body());
  });
  request.end();
  return request;
}

import * as http from "node:http";
import * as https from "node:https";
import type { ConsulApi } from "./client.ts";

/**
 * The client's own verb for reading, without what it does besides: merging options, encoding, and logging cost as much
 * as the rest of a poll together, and a poll is what a subscriber waits for. It fails as the client does: an answer that
 * is not 2xx has `isResponse` and `statusCode`, everything else is Node's own error.
 *
 * @param base Where `path` begins; without a slash at the end.
 */
export function plainGet(base: URL, agent: http.Agent): ConsulApi["_get"] {
  const { request } = base.protocol === "https:" ? https : http;
  const user = [base.username, base.password].filter((part) => part !== "").map(decodeURIComponent);
  const common = {
    agent,
    hostname: base.hostname,
    port: base.port || (base.protocol === "https:" ? 443 : 80),
    ...(user.length === 0 ? {} : { auth: user.join(":") }),
  };
  return ({ path, params, query, headers, ctx, pipe }) =>
    new Promise((resolve, reject) => {
      const place = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));
      const search = Object.entries(query)
        .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
        .join("&");
      const asked = request({ ...common, path: `${base.pathname}${place}${search && "?"}${search}`, headers });
      asked.on("error", reject);
      asked.on("response", (response) => {
        const { statusCode = 0 } = response;
        response.on("end", () => {
          if (Math.floor(statusCode / 100) === 2) resolve(response);
          else reject(Object.assign(new Error(`status ${statusCode}`), { isResponse: true, statusCode }));
        });
        response.pipe(pipe);
      });
      // The error comes whether there is a socket already or not, and after an answer has begun, too.
      ctx.once("cancel", () => {
        asked.destroy();
        reject(new Error("request aborted"));
      });
      asked.end();
    });
}

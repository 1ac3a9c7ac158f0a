import { type Closable, type Registry, closable, createInstance, fixedInstancer } from "@rollcall/core";
import { type HttpClient, discoveryDispatcher, httpClient, serviceClient } from "@rollcall/http";
import { createFetch } from "@rollcall/http/fetch";
import { request } from "undici";
import { SERVED_BY } from "./work.ts";

/** How the client reaches the service. */
export const WAYS = ["client", "dispatcher", "fetch", "gateway"] as const;

export type Way = (typeof WAYS)[number];

/** For the table. */
export const WAY_TITLES: Readonly<Record<Way, string>> = {
  client: "serviceClient",
  dispatcher: "discoveryDispatcher",
  fetch: "createFetch",
  gateway: "the gateway",
};

export interface Answer {
  readonly status: number;
  readonly text: string;
  /** Who gave it. */
  readonly by: string;
}

/** A client with all its defaults. Closing it leaves the registry open. */
export interface Caller extends Closable {
  call(method: "GET" | "POST", path: string, body?: string): Promise<Answer>;
}

/** Makes a client of this kind. `gatewayPort` is where the gateway is, for those who go through it. */
export function callerOf(way: Way, registry: Registry, service: string, gatewayPort: number): Caller {
  if (way === "client") return byClient(serviceClient(registry, service));
  if (way === "gateway") {
    const gateway = createInstance({ service: "gateway", host: "127.0.0.1", port: gatewayPort });
    // Whatever the gateway does not make good is a failure.
    return byClient(httpClient({ instancer: fixedInstancer("gateway", [gateway]), retry: false }));
  }
  if (way === "dispatcher") {
    const dispatcher = discoveryDispatcher({ registry });
    return {
      async call(method, path, body) {
        const {
          statusCode,
          headers,
          body: answer,
        } = await request(`http://${service}${path}`, {
          dispatcher,
          method,
          headers: JSON_BODY,
          body: body ?? null,
        });
        return { status: statusCode, text: await answer.text(), by: String(headers[SERVED_BY]) };
      },
      ...closable(() => dispatcher.close()),
    };
  }
  const fetch = createFetch({ registry });
  return {
    async call(method, path, body) {
      const init = { method, headers: JSON_BODY, body: body ?? null };
      const answer = await fetch(`http://${service}${path}`, init);
      return { status: answer.status, text: await answer.text(), by: String(answer.headers.get(SERVED_BY)) };
    },
    ...closable(() => fetch.close()),
  };
}

const JSON_BODY = { "content-type": "application/json" };

function byClient(client: HttpClient): Caller {
  return {
    async call(method, path, body) {
      const { statusCode, headers, body: answer } = await client.request(path, { method, headers: JSON_BODY, body });
      return { status: statusCode, text: await answer.text(), by: String(headers[SERVED_BY]) };
    },
    ...closable(() => client.close()),
  };
}

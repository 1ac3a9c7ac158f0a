import * as http from "node:http";
import { consulRegistry } from "@rollcall/consul";
import Consul from "consul";
import { rollcall } from "./rollcall.ts";
import { MOVING, type Scheme } from "./scheme.ts";

/** What is looked at in an answer of `/v1/health/service/…`. */
type Records = readonly { readonly Service: { readonly ID: string; readonly Port: number } }[];

function portOf(records: Records): number {
  return records.find(({ Service }) => Service.ID.endsWith(MOVING))?.Service.Port ?? 0;
}

/** A blocking query after the other, by hand: `ask` gets a URL, and gives back the index and the text of the answer. */
function blocking(ask: (url: string) => Promise<readonly [index: string, text: string]>): Scheme {
  return async (url, services, seen) => {
    const follow = async (place: number, index: string): Promise<void> => {
      const query = `passing=1&index=${index}&wait=60s`;
      const [next, text] = await ask(`${url}/v1/health/service/${services[place]}?${query}`);
      seen(place, portOf(JSON.parse(text) as Records));
      void follow(place, next);
    };
    await Promise.all(
      services.map(async (service, place) => {
        const [index, text] = await ask(`${url}/v1/health/service/${service}?passing=1`);
        seen(place, portOf(JSON.parse(text) as Records));
        void follow(place, index);
      }),
    );
  };
}

function plainHttp(): Scheme {
  const agent = new http.Agent({ keepAlive: true });
  return blocking(
    (url) =>
      new Promise((resolve, reject) => {
        const request = http.get(url, { agent }, (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () =>
            resolve([String(response.headers["x-consul-index"]), Buffer.concat(chunks).toString()]),
          );
        });
        request.on("error", reject);
      }),
  );
}

const viaFetch: Scheme = blocking(async (url) => {
  const response = await fetch(url);
  return [String(response.headers.get("x-consul-index")), await response.text()];
});

const npmConsul: Scheme = async (url, services, seen) => {
  const { hostname, port } = new URL(url);
  const consul = new Consul({ host: hostname, port: Number(port) });
  await Promise.all(
    services.map(
      (service, place) =>
        new Promise<void>((resolve, reject) => {
          // Its types take strings only.
          const options = { service, passing: "true" };
          const watch = consul.watch({ method: consul.health.service, options });
          watch.on("change", (records: Records) => {
            seen(place, portOf(records));
            resolve();
          });
          watch.on("error", reject);
        }),
    ),
  );
};

/** The first is the floor. */
export const CONSUL_SCHEMES: Readonly<Record<string, Scheme>> = {
  "node:http": plainHttp(),
  rollcall: rollcall((url, services) => consulRegistry({ url, maxConnections: Math.max(100, 2 * services) })),
  "rollcall, 100 sockets": rollcall((url) => consulRegistry({ url })),
  "npm consul": npmConsul,
  "global fetch": viaFetch,
};

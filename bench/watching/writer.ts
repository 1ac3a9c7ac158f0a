import * as http from "node:http";
import { Etcd3 } from "etcd3";
import { MOVING, PREFIX } from "./scheme.ts";

/** Writes instances into a registry, as any program would: without anything of ours. */
export interface Writer {
  /** Writes `<service><suffix>`; resolves when the registry has confirmed it. */
  write(service: string, suffix: string, port: number): Promise<void>;
  close(): void;
}

/** @param via The agent is who registers the service, which is usual; the catalogue takes thousands sooner. */
export function consulWriter(url: string, via: "agent" | "catalog"): Writer {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  return {
    write: (service, suffix, port) => {
      const id = `${service}${suffix}`;
      const given = { Address: "10.0.0.1", Port: port, Tags: ["bench"], Meta: { zone: "a", version: "1" } };
      const [path, body] =
        via === "agent"
          ? ["/v1/agent/service/register", { ID: id, Name: service, ...given }]
          : [
              "/v1/catalog/register",
              { Node: "bench", Address: "10.0.0.1", Service: { ID: id, Service: service, ...given } },
            ];
      return new Promise((resolve, reject) => {
        const request = http.request(`${url}${path}`, { method: "PUT", agent }, (response) => {
          response.resume();
          response.on("end", () =>
            response.statusCode === 200 ? resolve() : reject(new Error(`${path}: ${response.statusCode}`)),
          );
        });
        request.on("error", reject);
        request.end(JSON.stringify(body));
      });
    },
    close: () => agent.destroy(),
  };
}

export function etcdWriter(url: string): Writer {
  const client = new Etcd3({ hosts: url });
  return {
    write: async (service, suffix, port) => {
      const id = `${service}${suffix}`;
      const record = { id, service, host: "10.0.0.1", port, weight: 1, tags: ["bench"], metadata: { version: "1" } };
      await client.put(`${PREFIX}/${service}/${id}`).value(JSON.stringify(record));
    },
    close: () => client.close(),
  };
}

/** Gives a service its instance that moves, and so many others. */
export async function populate(writer: Writer, service: string, others: number): Promise<void> {
  await writer.write(service, MOVING, 1);
  for (let number = 0; number < others; number++) await writer.write(service, `-${number}`, 80 + number);
}

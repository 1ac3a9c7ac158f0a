import { closable } from "@rollcall/core";
import { consulRegistry } from "@rollcall/consul";
import { startConsul } from "@rollcall/testing/servers";
import { type Backend, type Store, ask } from "./backend.ts";

/** May do everything; the suite's own. */
const ROOT = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05";
/** Fixed, so that a token that was deleted can be made again. */
const USERS = [
  {
    name: "client",
    accessor: "5a1f2f6e-31b5-4f0e-9f0c-6a4b6c1d2e3f",
    secret: "0b5e2c1a-7d3f-4e8b-9a6c-1f2e3d4c5b6a",
    rules: 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }',
  },
  {
    name: "servers",
    accessor: "6b2a3a7f-42c6-4a1f-8a1d-7b5c7d2e3f4a",
    secret: "1c6f3d2b-8e4a-4f9c-8b7d-2a3f4e5d6c7b",
    rules: 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }',
  },
] as const;

export const consul: Backend = {
  name: "consul",
  title: "Consul",
  ttlMs: 30_000,
  cannot: { compaction: "no: Consul answers with whole sets, and keeps no history that could be compacted" },
  open: ({ url, ttlMs, credentials }, env) =>
    consulRegistry({ url, env, ...credentials, ...(ttlMs === undefined ? {} : { check: { ttlMs } }) }),
  start: startStore,
};

/** Starts a Consul, whose DNS listens at this port, if there is one. */
export async function startStore(options: {
  readonly guarded: boolean;
  readonly dnsPort?: number | undefined;
}): Promise<Store> {
  const { guarded, dnsPort } = options;
  const acl = `acl { enabled = true default_policy = "deny" tokens { master = "${ROOT}" agent = "${ROOT}" } }`;
  const server = await startConsul({
    faults: ["kill", "freeze", "wipe"],
    dnsPort,
    ...(guarded ? { token: ROOT, args: [`-hcl=${acl}`] } : {}),
  });
  const call = (method: "GET" | "PUT" | "DELETE", path: string, body?: unknown): Promise<unknown> =>
    ask(`${server.url}/v1${path}`, method, body, guarded ? { "x-consul-token": ROOT } : {});
  const admit = async (): Promise<void> => {
    for (const { name, accessor, secret } of USERS) {
      await call("PUT", "/acl/token", { AccessorID: accessor, SecretID: secret, Policies: [{ Name: name }] });
    }
  };
  const policies = new Map<string, string>();
  if (guarded) {
    for (const { name, rules } of USERS) {
      const { ID } = (await call("PUT", "/acl/policy", { Name: name, Rules: rules })) as { readonly ID: string };
      policies.set(name, `/acl/policy/${ID}`);
    }
    await admit();
  }
  const [client, servers] = USERS;
  let undo: () => Promise<unknown> = () => Promise.resolve();
  return {
    server,
    credentials: guarded ? { client: { token: client.secret }, servers: { token: servers.secret } } : undefined,
    async churn(changes) {
      for (let change = 0; change < changes; change++) await call("PUT", `/kv/churn`, change);
    },
    async forget(service) {
      const records = (await call("GET", `/health/service/${service}`)) as {
        readonly Service: { readonly ID: string };
      }[];
      await Promise.all(records.map(({ Service }) => call("PUT", `/agent/service/deregister/${Service.ID}`)));
    },
    compact: () => Promise.reject(new Error("Consul has no history")),
    async revoke(what) {
      if (what === "credentials") {
        for (const { accessor } of USERS) await call("DELETE", `/acl/token/${accessor}`);
        undo = admit;
      } else {
        const path = policies.get(client.name) ?? "";
        await call("PUT", path, { Name: client.name, Rules: "" });
        undo = () => call("PUT", path, { Name: client.name, Rules: client.rules });
      }
    },
    restore: async () => void (await undo()),
    ...closable(() => server.close()),
  };
}

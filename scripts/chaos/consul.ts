import { closable } from "@rollcall/core";
import { consulRegistry } from "@rollcall/consul";
import { startConsul } from "@rollcall/testing/servers";
import { type Backend, type Credentials, type Store, ask } from "./backend.ts";

/** May do everything; the suite's own. */
const ROOT = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05";
const POLICY = {
  Name: "application",
  Rules: 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }',
};
const APPLICATION = {
  AccessorID: "5a1f2f6e-31b5-4f0e-9f0c-6a4b6c1d2e3f",
  SecretID: "0b5e2c1a-7d3f-4e8b-9a6c-1f2e3d4c5b6a",
};

export const consul: Backend = {
  name: "consul",
  title: "Consul",
  cannot: { compaction: "no: Consul answers with whole sets, and keeps no history that could be compacted" },
  open: ({ url, ttlMs, credentials }, env) =>
    consulRegistry({ url, env, ...credentials, ...(ttlMs === undefined ? {} : { check: { ttlMs } }) }),
  start,
};

async function start({ guarded }: { readonly guarded: boolean }): Promise<Store> {
  const acl = `acl { enabled = true default_policy = "deny" tokens { master = "${ROOT}" agent = "${ROOT}" } }`;
  const server = await startConsul({
    faults: ["kill", "freeze", "wipe"],
    ...(guarded ? { token: ROOT, args: [`-hcl=${acl}`] } : {}),
  });
  const call = (method: "GET" | "PUT" | "DELETE", path: string, body?: unknown): Promise<unknown> =>
    ask(`${server.url}/v1${path}`, method, body, guarded ? { "x-consul-token": ROOT } : {});
  const admit = (): Promise<unknown> =>
    call("PUT", "/acl/token", { ...APPLICATION, Policies: [{ Name: POLICY.Name }] });
  let undo: () => Promise<unknown> = () => Promise.resolve();
  let policyPath = "";
  let credentials: Credentials | undefined;
  if (guarded) {
    const { ID } = (await call("PUT", "/acl/policy", POLICY)) as { readonly ID: string };
    policyPath = `/acl/policy/${ID}`;
    await admit();
    credentials = { token: APPLICATION.SecretID };
  }
  return {
    server,
    credentials,
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
        await call("DELETE", `/acl/token/${APPLICATION.AccessorID}`);
        undo = admit;
      } else {
        await call("PUT", policyPath, { Name: POLICY.Name, Rules: "" });
        undo = () => call("PUT", policyPath, POLICY);
      }
    },
    restore: async () => void (await undo()),
    ...closable(() => server.close()),
  };
}

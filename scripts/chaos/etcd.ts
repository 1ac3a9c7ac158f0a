import { closable } from "@rollcall/core";
import { etcdRegistry } from "@rollcall/etcd";
import { startEtcd } from "@rollcall/testing/servers";
import { type Backend, type Credentials, type Store, ask } from "./backend.ts";

/** May do everything; the suite's own. */
const ROOT = { name: "root", password: "root" };
const CLIENT = { name: "client", password: "client", rights: "READ" };
const SERVERS = { name: "servers", password: "servers", rights: "READWRITE" };
const PREFIX = "/services/";

export const etcd: Backend = {
  name: "etcd",
  title: "etcd",
  ttlMs: 30_000,
  cannot: {},
  open: ({ url, ttlMs, credentials }, env) => etcdRegistry({ url, ttlMs, env, ...credentials }),
  start,
};

async function start({ guarded }: { readonly guarded: boolean }): Promise<Store> {
  const server = await startEtcd({ faults: ["kill", "freeze", "wipe"] });
  const post = (path: string, body: object, token?: string): Promise<unknown> =>
    ask(`${server.url}/v3/${path}`, "POST", body, token === undefined ? {} : { authorization: token });
  let call = (path: string, body: object): Promise<unknown> => post(path, body);
  let undo: () => Promise<unknown> = () => Promise.resolve();
  const allow = ({ name, rights }: typeof CLIENT): Promise<unknown> =>
    call("auth/role/grant", { name, perm: { permType: rights, ...rangeOf(PREFIX) } });
  const setPassword = async (suffix: string): Promise<void> => {
    for (const { name, password } of [CLIENT, SERVERS]) {
      await call("auth/user/changepw", { name, password: `${password}${suffix}` });
    }
  };
  if (guarded) {
    for (const { name, password } of [ROOT, CLIENT, SERVERS]) {
      await call("auth/user/add", { name, password });
      await call("auth/role/add", { name });
      await call("auth/user/grant", { user: name, role: name });
    }
    for (const user of [CLIENT, SERVERS]) await allow(user);
    await call("auth/enable", {});
    // Every change of users and roles makes all tokens old.
    call = async (path, body) => {
      const { token } = (await post("auth/authenticate", ROOT)) as { readonly token: string };
      return post(path, body, token);
    };
  }
  return {
    server,
    credentials: guarded ? { client: credentialsOf(CLIENT), servers: credentialsOf(SERVERS) } : undefined,
    async churn(changes) {
      for (let change = 0; change < changes; change++) {
        await call("kv/put", { key: base64("churn"), value: base64(String(change)) });
      }
    },
    forget: async (service) => void (await call("kv/deleterange", rangeOf(`${PREFIX}${service}/`))),
    async compact() {
      const { header } = (await call("kv/range", { key: base64("churn") })) as {
        readonly header: { readonly revision: string };
      };
      await call("kv/compaction", { revision: header.revision, physical: true });
    },
    async revoke(what) {
      if (what === "credentials") {
        await setPassword(" of somebody else");
        undo = () => setPassword("");
      } else {
        await call("auth/role/revoke", { role: CLIENT.name, ...rangeOf(PREFIX) });
        undo = () => allow(CLIENT);
      }
    },
    restore: async () => void (await undo()),
    ...closable(() => server.close()),
  };
}

function credentialsOf({ name, password }: typeof CLIENT): Credentials {
  return { username: name, password };
}

/** All keys that begin so; the prefix ends with a slash, after which comes "0". */
function rangeOf(prefix: string): { readonly key: string; readonly range_end: string } {
  return { key: base64(prefix), range_end: base64(`${prefix.slice(0, -1)}0`) };
}

/** As the JSON gateway wants keys and values. */
function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

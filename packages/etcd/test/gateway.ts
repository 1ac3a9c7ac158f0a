import { execFileSync } from "node:child_process";

/** etcd's JSON gateway: another way in, which shares no code with what is tested. */
export interface Gateway {
  put(key: Buffer, value: Buffer | string): Promise<void>;
  remove(key: Buffer): Promise<void>;
  has(key: Buffer): Promise<boolean>;
  /** The same for a thread that must stand still: asked by another process. */
  hasSync(key: Buffer): boolean;
  /** Revokes the lease that a key has. */
  revoke(key: Buffer): Promise<void>;
  /** Forgets everything but the present state. */
  compact(): Promise<void>;
  /**
   * Makes the user `root` (password `root`), one user per name, who has its name as password and may read and write under
   * the prefixes, and demands of everybody from now on to be one of them. Resolves with a gateway for root.
   */
  enableAuth(users: Readonly<Record<string, readonly string[]>>): Promise<Gateway>;
  /** Lets a user of {@link enableAuth} read and write under a prefix, or not any more. */
  permit(user: string, prefix: string, isAllowed: boolean): Promise<void>;
  /** Any other request: `/v3/…`. */
  call(path: string, body: unknown): Promise<Record<string, unknown>>;
}

interface Range {
  readonly header: { readonly revision: string };
  readonly kvs?: readonly { readonly lease?: string }[];
}

export function gateway(url: string, token?: () => Promise<string>): Gateway {
  const call = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
    const headers = token === undefined ? {} : { authorization: await token() };
    const answer = await fetch(`${url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as Record<string, unknown>;
  };
  const range = async (key: Buffer): Promise<Range> =>
    (await call("/v3/kv/range", { key: base64(key) })) as unknown as Range;

  const permit = async (user: string, prefix: string, isAllowed: boolean): Promise<void> => {
    const { key, range_end } = rangeUnder(prefix);
    if (isAllowed) await call("/v3/auth/role/grant", { name: user, perm: { permType: "READWRITE", key, range_end } });
    else await call("/v3/auth/role/revoke", { role: user, key, range_end });
  };

  return {
    call,
    permit,
    async enableAuth(users) {
      for (const [name, prefixes] of Object.entries({ ...users, root: [] })) {
        await call("/v3/auth/user/add", { name, password: name });
        await call("/v3/auth/role/add", { name });
        await call("/v3/auth/user/grant", { user: name, role: name });
        for (const prefix of prefixes) await permit(name, prefix, true);
      }
      await call("/v3/auth/enable", {});
      return gateway(url, async () => {
        const answer = await call("/v3/auth/authenticate", { name: "root", password: "root" });
        return String(answer["token"]);
      });
    },
    async put(key, value) {
      await call("/v3/kv/put", { key: base64(key), value: base64(Buffer.from(value)) });
    },
    async remove(key) {
      await call("/v3/kv/deleterange", { key: base64(key) });
    },
    async has(key) {
      return (await range(key)).kvs !== undefined;
    },
    hasSync(key) {
      const script =
        "fetch(process.argv[1], { method: 'POST', body: process.argv[2] })" +
        ".then((answer) => answer.text()).then((text) => process.stdout.write(text))";
      const args = ["-e", script, `${url}/v3/kv/range`, JSON.stringify({ key: base64(key) })];
      return (JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })) as Range).kvs !== undefined;
    },
    async revoke(key) {
      const lease = (await range(key)).kvs?.[0]?.lease;
      if (lease === undefined) throw new Error(`${key.toString()} has no lease`);
      await call("/v3/lease/revoke", { ID: lease });
    },
    async compact() {
      const { header } = await range(Buffer.from("x"));
      await call("/v3/kv/compaction", { revision: header.revision });
    },
  };
}

function rangeUnder(prefix: string) {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return { key: base64(Buffer.from(prefix)), range_end: base64(end) };
}

function base64(bytes: Buffer): string {
  return bytes.toString("base64");
}

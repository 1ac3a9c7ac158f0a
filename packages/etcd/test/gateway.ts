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
  /** Any other request: `/v3/…`. */
  call(path: string, body: unknown): Promise<Record<string, unknown>>;
}

interface Range {
  readonly header: { readonly revision: string };
  readonly kvs?: readonly { readonly lease?: string }[];
}

export function gateway(url: string, token?: string): Gateway {
  const call = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
    const headers = token === undefined ? {} : { authorization: token };
    const answer = await fetch(`${url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as Record<string, unknown>;
  };
  const range = async (key: Buffer): Promise<Range> =>
    (await call("/v3/kv/range", { key: base64(key) })) as unknown as Range;

  return {
    call,
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

function base64(bytes: Buffer): string {
  return bytes.toString("base64");
}

import { createRequire } from "node:module";
import {
  type GrpcObject,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceClientConstructor,
  loadPackageDefinition,
  type sendUnaryData,
  type status,
} from "@grpc/grpc-js";
import { Etcd3 } from "etcd3";
import { noop } from "cockatiel";
import type { Dialled } from "../src/session.ts";

/** A request, as the fake saw it. */
export interface SeenCall {
  readonly method: string;
  readonly request: Record<string, unknown>;
  readonly token: string | undefined;
  /** Answers it. */
  reply(response: object): void;
  /** Refuses it. */
  refuse(code: status, details?: string): void;
}

/** A watch stream that a client has opened. */
export interface SeenStream {
  readonly token: string | undefined;
  /** What the client wrote so far: creates and cancels. */
  readonly requests: { readonly create_request?: object; readonly cancel_request?: { readonly watch_id: string } }[];
  readonly ended: boolean;
  say(response: object): void;
  break(code: status): void;
}

export type Handler = (call: SeenCall) => void;

export const header = (revision: number | string = 10, cluster = "1") => ({
  revision: `${revision}`,
  cluster_id: cluster,
});
export const created = (id: number, revision?: number) => ({ header: header(revision), watch_id: id, created: true });
export const kv = (key: string, value: string, revision = 5, lease = "0") => ({
  key: Buffer.from(key),
  value: Buffer.from(value),
  mod_revision: `${revision}`,
  create_revision: `${revision}`,
  lease,
});
export const put = (key: string, value: string, revision: number) => ({ type: "Put", kv: kv(key, value, revision) });
export const removed = (key: string, revision: number) => ({ type: "Delete", kv: kv(key, "", revision) });

// The loader that etcd3 brings along: the definitions must be the client's own.
const require = createRequire(import.meta.resolve("etcd3"));
const { loadSync } = require("@grpc/proto-loader") as {
  loadSync(file: string, options: object): Parameters<typeof loadPackageDefinition>[0];
};
const definition = loadSync(require.resolve("etcd3/package.json").replace("package.json", "proto/rpc.proto"), {
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});
const services = loadPackageDefinition(definition)["etcdserverpb"] as GrpcObject;

/**
 * A gRPC server on loopback that speaks etcd's protocol and answers what a test tells it to; for what a real etcd will not
 * do on demand. A call that nobody handles is never answered.
 */
export async function fakeEtcd(handlers: Readonly<Record<string, Handler>> = {}) {
  const server = new Server();
  const calls: SeenCall[] = [];
  const streams: SeenStream[] = [];
  const current = new Map(Object.entries(handlers));
  const onUnary = (method: string) => (inner: ServerUnaryCall<object, object>, callback: sendUnaryData<object>) => {
    const call: SeenCall = {
      method,
      request: inner.request as Record<string, unknown>,
      token: inner.metadata.get("token")[0]?.toString(),
      reply: (response) => callback(null, { header: header(), ...response }),
      refuse: (code, details = "") => callback({ code, details }),
    };
    calls.push(call);
    current.get(method)?.(call);
  };
  const onKeepAlive = (inner: ServerDuplexStream<object, object>): void => {
    inner.on("data", (request: Record<string, unknown>) => {
      const call: SeenCall = {
        method: "LeaseKeepAlive",
        request,
        token: inner.metadata.get("token")[0]?.toString(),
        reply: (response) => inner.write({ header: header(), ...request, ...response }),
        refuse: (code, details = "") => inner.emit("error", { code, details }),
      };
      calls.push(call);
      current.get("LeaseKeepAlive")?.(call);
    });
    inner.on("end", () => inner.end());
    inner.on("error", () => undefined);
  };
  const onWatch = (inner: ServerDuplexStream<object, object>): void => {
    let ended = false;
    const stream = {
      token: inner.metadata.get("token")[0]?.toString(),
      requests: [] as SeenStream["requests"][number][],
      get ended() {
        return ended;
      },
      say: (response: object) => void inner.write({ header: header(), ...response }),
      break: (code: status) => void inner.emit("error", { code, details: "broken" }),
    };
    const end = (): void => {
      ended = true;
    };
    inner.on("data", (request: object) => stream.requests.push(request)).on("end", end);
    inner.on("cancelled", end).on("error", end);
    streams.push(stream);
  };
  for (const [name, methods] of Object.entries(METHODS)) {
    const { service } = services[name] as ServiceClientConstructor;
    const unary = Object.fromEntries(methods.map((method) => [method, onUnary(method)]));
    const duplex = name === "Watch" ? { Watch: onWatch } : name === "Lease" ? { LeaseKeepAlive: onKeepAlive } : {};
    server.addService(service, { ...unary, ...duplex });
  }
  const port = await new Promise<number>((resolve, reject) => {
    const credentials = ServerCredentials.createInsecure();
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });

  const until = async <T>(what: string, look: () => T | undefined): Promise<T> => {
    for (let tries = 0; tries < 1_000; tries++) {
      const found = look();
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(`the fake waited in vain for ${what}`);
  };
  return {
    port,
    host: `127.0.0.1:${port}`,
    calls,
    streams,
    /** Answers all further calls of a method. */
    on: (method: string, handler: Handler | undefined) =>
      handler === undefined ? current.delete(method) : current.set(method, handler),
    /** The n-th call of a method, from 1, as soon as it is there. */
    call: (method: string, n = 1) =>
      until(`call ${n} of ${method}`, () => calls.filter((call) => call.method === method)[n - 1]),
    stream: (n = 1) => until(`stream ${n}`, () => streams[n - 1]),
    /** The n-th request of a stream, from 1. */
    request: async (stream: SeenStream, n: number) => until(`request ${n}`, () => stream.requests[n - 1]),
    /** A client of it; `closed` counts. */
    dial(): Dialled & { readonly closed: number } {
      const api = new Etcd3({ hosts: `127.0.0.1:${port}`, faultHandling: { host: () => noop, global: noop } });
      let closed = 0;
      return {
        host: `127.0.0.1:${port}`,
        api,
        get closed() {
          return closed;
        },
        async close() {
          closed++;
          api.close();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
    },
  };
}
export type FakeEtcd = Awaited<ReturnType<typeof fakeEtcd>>;

const METHODS = {
  KV: ["Range", "Put"],
  Lease: ["LeaseGrant", "LeaseRevoke"],
  Auth: ["Authenticate"],
  Maintenance: ["Status"],
  Watch: [],
};

/** What a healthy etcd would say. */
export const WELL: Readonly<Record<string, Handler>> = {
  Status: (call) => call.reply({ version: "3.4.0", leader: "1" }),
  Range: (call) => call.reply({ kvs: [] }),
  Put: (call) => call.reply({}),
  LeaseGrant: (call) => call.reply({ ID: "77", TTL: String(call.request["TTL"]) }),
  LeaseRevoke: (call) => call.reply({}),
  LeaseKeepAlive: (call) => call.reply({ TTL: "30" }),
};

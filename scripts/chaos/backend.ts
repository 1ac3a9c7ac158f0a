import type { Closable, Env, Registry } from "@rollcall/core";
import type { No } from "@rollcall/testing/conformance";
import type { TestServer } from "@rollcall/testing/servers";

/** Who one is in a registry with access control; options of the backend's registry, as they are. */
export type Credentials = Readonly<Record<string, string>>;

export interface Access {
  readonly url: string;
  /** Default: the backend's own. */
  readonly ttlMs?: number | undefined;
  readonly credentials?: Credentials | undefined;
}

/** What the suite has to know of one kind of registry. Nothing here is kept in memory that the other processes need. */
export interface Backend {
  readonly name: string;
  readonly title: string;
  /** The lease of a registration, by default. */
  readonly ttlMs: number;
  /** The rows that mean nothing here, by name, and why. */
  readonly cannot: Readonly<Record<string, No>>;
  /** The registry as an application would make it, but for the address and the lease. */
  open(access: Access, env: Partial<Env>): Registry;
  /** Starts a real server; `guarded` is one with access control. */
  start(options: { readonly guarded: boolean }): Promise<Store>;
}

/** A running registry server, and what is done to it past Rollcall. Closing it ends it. */
export interface Store extends Closable {
  readonly server: TestServer;
  /** Where clients read, if not at the server's own port. */
  readonly readAt?: { readonly host: string; readonly port: number } | undefined;
  /** What applications need; undefined unless it is guarded. */
  readonly credentials: { readonly client: Credentials; readonly servers: Credentials } | undefined;
  /** Moves the index, or the revision, on by `changes` without touching any service. */
  churn(changes: number): Promise<void>;
  /** Deletes every record of a service, as somebody else might. */
  forget(service: string): Promise<void>;
  /** Deletes the history up to now. */
  compact(): Promise<void>;
  /** Refuses everybody's credentials, or takes away all that the client may do. Until `restore`. */
  revoke(what: "credentials" | "client's rights"): Promise<void>;
  restore(): Promise<void>;
}

/** One request to a server that answers at once. Rejects with what it said unless that is a 2xx. */
export async function ask(
  url: string,
  method: "GET" | "PUT" | "POST" | "DELETE",
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const response = await fetch(url, {
    method,
    headers,
    signal: AbortSignal.timeout(10_000),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}

import { closable, messageOf } from "@rollcall/core";
import type { ServerKind } from "./server-kind.ts";
import type { TestServer } from "./test-server.ts";
import { untilReady } from "./until-ready.ts";

/**
 * The handle for a server that somebody else runs. It must do its work within `timeoutMs`: an address was given on
 * purpose, so a server that does not answer there is an error and no reason to look elsewhere.
 */
export async function environmentServer(kind: ServerKind, url: string, timeoutMs: number): Promise<TestServer> {
  const variable = kind.address?.variable ?? "the environment";
  try {
    await untilReady("answering", (signal) => kind.probe(url, signal), timeoutMs, new AbortController().signal);
  } catch (error) {
    throw new Error(`no ${kind.title} at ${url}, which is what ${variable} says: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const { protocol, hostname, port } = new URL(url);
  const refuse = (): Promise<never> =>
    Promise.reject(new Error(`cannot do that to ${kind.title} at ${url}: only its address is known, from ${variable}`));
  return {
    name: kind.name,
    url,
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(port || (protocol === "https:" ? 443 : 80)),
    via: "environment",
    faults: Object.freeze([]),
    pid: undefined,
    running: true,
    kill: refuse,
    stop: refuse,
    freeze: refuse,
    thaw: refuse,
    start: () => Promise.resolve(),
    restart: refuse,
    wipe: refuse,
    save: refuse,
    restore: refuse,
    log: () => "",
    ...closable(() => Promise.resolve()),
  };
}

import type { Registry } from "@rollcall/core";
import type { Work } from "../work.ts";

/** What a framework's server is told. */
export interface Serving {
  readonly registry: Registry;
  readonly service: string;
  readonly port: number;
  /** Undefined for the default. */
  readonly drainMs: number | undefined;
  readonly work: Work;
  /** To be called with the address before anything is answered: all answers say it. */
  readonly name: string;
}

/**
 * Starts a server on loopback that does the work and is announced as an application of this framework would be. It ends
 * by a signal, as an application would, and closes the registry then. Resolves when it is announced.
 */
export type Serve = (serving: Serving) => Promise<void>;

export const HOST = "127.0.0.1";

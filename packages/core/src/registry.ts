import type { InstanceInit } from "./instance.ts";
import type { Instancer } from "./instancer.ts";
import type { Closable } from "./lifecycle.ts";
import type { Registrar } from "./registrar.ts";

/** Which instances are asked for. */
export interface ServiceQuery {
  readonly service: string;
  /** All of these tags; their order is irrelevant. */
  readonly tags?: readonly string[] | undefined;
  /** Only instances that pass their health checks. Default true. */
  readonly passingOnly?: boolean | undefined;
}

/**
 * One backend under one roof. It owns the connection, and everything made from it: closing the registry closes its
 * instancers and registrars too (which deregisters them).
 */
export interface Registry extends Closable {
  readonly name: string;
  /** Discovers a service. However many ask the same, the backend sees one watch. Throws `ClosedError` once closed. */
  instancer(query: ServiceQuery | string): Instancer;
  /** Announces an instance; nothing is written before `register()`. Throws `ClosedError` once closed. */
  registrar(instance: InstanceInit): Registrar;
}

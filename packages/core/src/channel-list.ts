// The members of `channels`: a module, and not an object, so that a bundle takes only those on which it tells something.
import diagnosticsChannel from "node:diagnostics_channel";
import type { Instance } from "./instance.ts";
import type { Outcome } from "./pick.ts";
import type { Snapshot } from "./snapshot.ts";

/** A `node:diagnostics_channel` whose messages have a type. Publishing to nobody costs next to nothing. */
export interface Channel<M> {
  /** Its name for `diagnostics_channel.subscribe(name, …)`: `rollcall:…`. */
  readonly name: string;
  readonly hasSubscribers: boolean;
  publish(message: M): void;
  /**
   * Returns the function that unsubscribes. A listener that throws does not reach the publisher: as on any diagnostics
   * channel, its error is an uncaught exception of the process.
   */
  subscribe(listener: (message: M) => void): () => void;
}

function channel<M>(event: string): Channel<M> {
  const name = `rollcall:${event}`;
  const inner = diagnosticsChannel.channel(name);
  return {
    name,
    get hasSubscribers() {
      return inner.hasSubscribers;
    },
    publish: (message) => {
      if (inner.hasSubscribers) inner.publish(message);
    },
    subscribe: (listener) => {
      const onMessage = (message: unknown): void => listener(message as M);
      diagnosticsChannel.subscribe(name, onMessage);
      return () => void diagnosticsChannel.unsubscribe(name, onMessage);
    },
  };
}

/** An instance of a service, in a message. */
export interface InstanceMessage {
  readonly service: string;
  readonly instance: Instance;
}

/** A listener of a snapshot threw. Nobody else noticed. */
export const listenerError = /* @__PURE__ */ channel<{ readonly error: unknown }>("listener-error");

/** An instancer's snapshot changed. */
export const snapshotChanged = /* @__PURE__ */ channel<{ readonly service: string; readonly snapshot: Snapshot }>(
  "snapshot-changed",
);

/** A watch failed (`error`) or was lost (no `error`); it is started again after `retryInMs`. */
export const sourceFailed = /* @__PURE__ */ channel<{
  readonly source: string;
  readonly service: string;
  readonly error?: unknown;
  readonly retryInMs: number;
}>("source-failed");

/** An empty answer after an outage is not believed for `graceMs`. */
export const emptyHeld = /* @__PURE__ */ channel<{ readonly service: string; readonly graceMs: number }>("empty-held");

/** A registry's answer held records that are no instances: `skipped` of them, left out of the set. */
export const badRecord = /* @__PURE__ */ channel<{
  readonly registry: string;
  readonly service: string;
  readonly skipped: number;
  readonly errors: readonly { readonly record: unknown; readonly error: unknown }[];
}>("bad-record");

/** An instance is in the registry (also: is in it again). */
export const registered = /* @__PURE__ */ channel<{ readonly sink: string; readonly instance: Instance }>("registered");

/** An instance was taken out of the registry by its registrar. */
export const deregistered = /* @__PURE__ */ channel<{ readonly sink: string; readonly instance: Instance }>(
  "deregistered",
);

/** One try of a registrar failed. Registering and renewing go on by themselves. */
export const registrarFailed = /* @__PURE__ */ channel<{
  readonly sink: string;
  readonly instance: Instance;
  readonly operation: "register" | "renew" | "deregister";
  readonly error: unknown;
}>("registrar-failed");

/** An endpoint can be picked from now on. */
export const endpointAdded = /* @__PURE__ */ channel<InstanceMessage>("endpoint-added");

/** An endpoint is not picked any more; it drains. */
export const endpointRemoved = /* @__PURE__ */ channel<InstanceMessage>("endpoint-removed");

/** A removed endpoint's client was closed. */
export const endpointClosed = /* @__PURE__ */ channel<InstanceMessage>("endpoint-closed");

/** A factory made no client for this instance; it is tried again after `retryInMs`. */
export const factoryFailed = /* @__PURE__ */ channel<
  InstanceMessage & { readonly error: unknown; readonly retryInMs: number }
>("factory-failed");

/** Closing a client failed. */
export const closeFailed = /* @__PURE__ */ channel<InstanceMessage & { readonly error: unknown }>("close-failed");

/** A policy threw while it was told of a call. */
export const policyError = /* @__PURE__ */ channel<{ readonly policy: string; readonly error: unknown }>(
  "policy-error",
);

/** An endpoint's report of its load was none, and was ignored. */
export const badReport = /* @__PURE__ */ channel<InstanceMessage & { readonly report: unknown }>("bad-report");

/** One attempt of a call ended; `number` counts from 1. `hedge`: it was made while another one was still running. */
export const attemptEnded = /* @__PURE__ */ channel<
  InstanceMessage & {
    readonly number: number;
    readonly hedge: boolean;
    readonly outcome: Outcome;
    readonly latencyMs: number;
  }
>("attempt-ended");

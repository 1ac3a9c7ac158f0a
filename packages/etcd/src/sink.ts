import { status } from "@grpc/grpc-js";
import { type Env, type Instance, type Sink, TimeoutError, bounded, isDiscoveryError } from "@rollcall/core";
import { encodeInstance, keyOf } from "./client.ts";
import type { EtcdConnection } from "./connection.ts";
import { EtcdError, isConnectionError } from "./etcd-error.ts";

/** How an {@link etcdSink} announces. */
export interface EtcdSinkOptions {
  readonly prefix: string;
  /** How long the record outlives its last renewal. */
  readonly ttlMs: number;
  /** Gets what goes on after a call has been given up, so that the connection is not closed under it. */
  readonly background: Set<Promise<void>>;
  readonly env: Env;
}

/** How long a lease that nobody wants is sought to be revoked. */
const UNDO_MS = 2_000;
/** So that a network that is away for a while less than the TTL costs nothing, whenever it began. */
const MAX_RENEW_MS = 5_000;

/**
 * Announces one instance: a lease, and the record under it. Taking back is revoking the lease, and with it goes every
 * record that still has it, in one step: a write that arrives later finds no lease and is refused, and a record of the
 * same id that somebody else has written meanwhile, under a lease of his own, is left alone.
 */
export function etcdSink(connection: EtcdConnection, options: EtcdSinkOptions): Sink {
  const ttlSeconds = Math.ceil(options.ttlMs / 1_000);
  /** The lease of the last registration that was accepted. */
  let held: string | undefined;

  const grant = async (signal: AbortSignal): Promise<{ readonly lease: string; readonly seconds: number }> => {
    const session = await connection.session(signal);
    const answer = await session.call(
      `granting a lease of ${ttlSeconds} s`,
      (api, call) => api.leaseClient.leaseGrant({ TTL: ttlSeconds }, call),
      signal,
    );
    return { lease: answer.ID, seconds: Number(answer.TTL) };
  };

  const write = async (instance: Instance, lease: string, signal: AbortSignal): Promise<void> => {
    const record = { key: keyOf(options.prefix, instance), value: encodeInstance(instance), lease };
    const session = await connection.session(signal);
    await session.call(`writing ${record.key.toString()}`, (api, call) => api.kv.put(record, call), signal);
  };

  const renew = async (instance: Instance, lease: string, signal: AbortSignal): Promise<void> => {
    const session = await connection.session(signal);
    const key = keyOf(options.prefix, instance);
    const [seconds, { kvs }] = await Promise.all([
      session.keepAlive(lease, signal),
      session.call(`reading ${key.toString()}`, (api, call) => api.kv.range({ key }, call), signal),
    ]);
    if (!(seconds > 0)) throw new EtcdError(`the lease of ${instance.id} is lost`, { code: status.NOT_FOUND });
    const [record] = kvs;
    // Under another lease it is somebody else's, who has the same id: a successor, say. Two who both insist would
    // overwrite each other for ever. Under none it would outlive us.
    const isTheirs = record !== undefined && record.lease !== lease && record.lease !== "0";
    const isWell = record?.lease === lease && encodeInstance(instance).equals(record.value);
    if (!isTheirs && !isWell) {
      throw new EtcdError(`somebody has removed or changed the record of ${instance.id}`, { code: status.NOT_FOUND });
    }
  };

  const revoke = async (lease: string, signal: AbortSignal): Promise<void> => {
    if (held === lease) held = undefined;
    const once = async (): Promise<void> => {
      const session = await connection.session(signal);
      const request = { ID: lease };
      await session.call("revoking a lease", (api, call) => api.leaseClient.leaseRevoke(request, call), signal);
    };
    try {
      // A connection that broke unnoticed says so now, and the next one may be well.
      await once().catch((error: unknown) =>
        isConnectionError(error) && !signal.aborted ? once() : Promise.reject(error),
      );
    } catch (error) {
      if (!(error instanceof EtcdError && error.code === status.NOT_FOUND)) throw error;
    }
  };

  /** What was just granted may have a record already, of which nobody would ever hear. */
  const undo = (lease: string): void => {
    const onTimeout = (): unknown => new TimeoutError("etcd: revoking a lease", UNDO_MS);
    const undone = bounded(options.env, { timeoutMs: UNDO_MS, onTimeout }, ({ signal }) => revoke(lease, signal))
      .catch(() => undefined) // then it ends with its TTL: nobody renews it
      .finally(() => options.background.delete(undone));
    options.background.add(undone);
  };

  return {
    name: "etcd",
    async register(instance, signal) {
      // A repair keeps the lease that is still alive: the record is never gone, whatever becomes of this try.
      let lease = held;
      let seconds = 0;
      if (lease !== undefined) seconds = await (await connection.session(signal)).keepAlive(lease, signal);
      if (lease === undefined || !(seconds > 0)) ({ lease, seconds } = await grant(signal));
      try {
        await write(instance, lease, signal);
      } catch (error) {
        const givenUp = signal.aborted && !isDiscoveryError(signal.reason, "TIMEOUT");
        if (lease !== held || givenUp) undo(lease);
        throw error;
      }
      held = lease;
      return {
        renewEveryMs: Math.min((seconds * 1_000) / 3, MAX_RENEW_MS),
        renew: (renewSignal) => renew(instance, lease, renewSignal),
        remove: (removeSignal) => revoke(lease, removeSignal),
      };
    },
  };
}

import { randomUUID } from "node:crypto";
import { type Instance, type Sink, isDiscoveryError, sleep, untilAborted } from "@rollcall/core";
import { type ConsulAccess, ConsulError, call, parseAnswer } from "./call.ts";
import { type ConsulCheck, DEFAULT_TTL_MS, defineCheck, duration } from "./check.ts";
import { encodeInstance } from "./client.ts";

/** How a {@link consulSink} announces. */
export interface ConsulSinkOptions {
  readonly check: ConsulCheck;
  readonly deregisterCriticalAfterMs: number;
  readonly timeoutMs: number;
  readonly zoneKey: string;
  /** Gets what goes on after a call has been given up, so that the connection is not closed under it. */
  readonly background: Set<Background>;
}

/** What a sink does that nobody awaits. */
export interface Background {
  /** Never rejects. */
  readonly done: Promise<void>;
  /** Ends it at once. */
  cut(): void;
}

/** All of `register`; below the five seconds that core gives it, so that the error says what was missing. */
const REGISTER_MS = 4_500;
const REMOVE_MS = 2_000;
/** How long a removal waits for a write that nobody waits for any more, so that it cannot take effect after it. */
const SETTLE_MS = 500;
/** How often the agent is asked at least: it has no other way to say that it was restarted and has forgotten. */
const MAX_RENEW_MS = 5_000;
/** A healthy Consul shows a registration within milliseconds; one that does not must not get a storm on top. */
const [FIRST_LOOK_MS, LOOK_GROWTH, MAX_LOOK_MS] = [10, 3, 1_000];
/** For the sake of a short TTL, which must not run out between two looks. */
const MIN_LOOK_MS = 250;
const ANNOUNCED_BY = "announced by rollcall ";
const NOT_THERE = "the catalog does not have it yet";

/**
 * Announces through the agent: the record lives while the agent does, and is gone from the passing ones when its check
 * fails. The check starts as passing, because a server registers when it can serve. `register` resolves when a reader
 * in the agent's datacenter sees the instance among the passing ones: the agent itself answers before that.
 *
 * One sink announces one instance, and its mark is in the note of the check: a record of the same id that somebody else
 * has written meanwhile is left alone by `remove`, and by `renew` while its check passes: two who both insist would
 * overwrite each other for ever.
 */
export function consulSink(access: ConsulAccess, options: ConsulSinkOptions): Sink {
  const { env } = access;
  const { check, timeoutMs } = options;
  const owner = randomUUID(); // an identity, not a chance: it must differ between processes
  const notes = `${ANNOUNCED_BY}${owner}`;
  const isTtl = !("http" in check || "tcp" in check);
  const renewEveryMs = isTtl ? Math.min((check.ttlMs ?? DEFAULT_TTL_MS) / 3, MAX_RENEW_MS) : MAX_RENEW_MS;
  const lookEveryMs = Math.min(Math.max(renewEveryMs, MIN_LOOK_MS), MAX_LOOK_MS);
  let writes = 0;
  /** The last write, and what cuts it short: the signal of `register` does not. */
  let writing: { readonly done: Promise<unknown>; readonly cut: AbortController } | undefined;
  let undoing: Promise<void> = Promise.resolve();

  /** Resolves with the id of the check. */
  const write = async (instance: Instance, limitMs: number, signal: AbortSignal): Promise<string> => {
    // A new one each time: for a check that it knows already, the agent ignores the status that it is given and keeps
    // its own. What has crashed, or has outlived an outage, would stay critical until its next heartbeat or probe.
    const checkId = `service:${instance.id}:${owner}:${++writes}`;
    const body = {
      ...encodeInstance(instance, options.zoneKey),
      Check: {
        CheckID: checkId,
        Name: `Service '${instance.service}' check`,
        Notes: notes,
        Status: "passing",
        DeregisterCriticalServiceAfter: duration(options.deregisterCriticalAfterMs),
        ...defineCheck(check, instance),
      },
    };
    // Without it, the check of an earlier registration stays behind, and will be critical one day.
    const query = { "replace-existing-checks": "true" };
    const request = { path: "/agent/service/register", query, body, timeoutMs: limitMs };
    // Cutting it short would not keep the agent from accepting it, and nobody would know when it does.
    const cut = new AbortController();
    writing = { cut, done: call(access, "PUT", request, cut.signal) };
    await untilAborted(writing.done, signal);
    return checkId;
  };

  /** Writes, and waits until the catalog has what the agent was told. Resolves with the id of the check. */
  const announce = async (instance: Instance, deadlineMs: number, signal: AbortSignal): Promise<string> => {
    const leftMs = (): number => Math.max(1, deadlineMs - env.now());
    let checkId = await write(instance, Math.min(timeoutMs, leftMs()), signal);
    // The agent writes the state of a TTL check to its disk only when it is told; a restart before the first heartbeat
    // would find it critical. And a short TTL may run out meanwhile.
    let isSure = !isTtl;
    let askedMs = -Infinity;
    for (let delayMs = FIRST_LOOK_MS; ; delayMs = Math.min(LOOK_GROWTH * delayMs, lookEveryMs)) {
      let missing: string | undefined = NOT_THERE;
      const asks = !isSure && env.now() - askedMs >= lookEveryMs;
      if (asks) askedMs = env.now();
      const holder = asks ? await holderOf(instance, checkId, signal) : "us";
      if (holder === "them") return checkId; // written after us: the last one counts
      if (holder === "us") missing = await look(instance, leftMs(), signal);
      else {
        // Another process that has announced under this id, and takes its leave, may have looked just before we wrote.
        checkId = await write(instance, Math.min(timeoutMs, leftMs()), signal);
        askedMs = -Infinity;
        delayMs = Math.min(LOOK_GROWTH * delayMs, lookEveryMs); // each costs three requests
      }
      if (missing === undefined) return checkId;
      if (env.now() + delayMs >= deadlineMs) {
        throw new ConsulError(`the agent accepted ${instance.id}, but a client would not see it: ${missing}`);
      }
      isSure = !isTtl && missing !== NOT_THERE;
      await sleep(env, delayMs, signal);
    }
  };

  /** Renews; undefined if the agent says that there is nothing to renew. */
  const holderOf = async (instance: Instance, checkId: string, signal: AbortSignal): Promise<Holder | undefined> => {
    try {
      return await renew(instance, checkId, signal);
    } catch (error) {
      if (isUnknown(error)) return undefined;
      throw error;
    }
  };

  /** What keeps the instance from being seen; undefined if nothing does. */
  const look = async (instance: Instance, limitMs: number, signal: AbortSignal): Promise<string | undefined> => {
    try {
      const params = { service: instance.service };
      const query = { filter: equals("Service.ID", instance.id) };
      const path = "/health/service/{service}";
      const answer = await call(access, "GET", { path, params, query, timeoutMs: limitMs }, signal);
      // A token may write without being allowed to read; then there is nothing to wait for.
      if (answer.headers["x-consul-results-filtered-by-acls"] === "true") return undefined;
      return missingIn(parseAnswer(answer.body.text), notes);
    } catch (error) {
      if (error instanceof ConsulError && error.statusCode === 403) return undefined;
      throw error;
    }
  };

  /** The checks that the agent has for our id. */
  const checksOf = async (instance: Instance, limitMs: number, signal: AbortSignal): Promise<readonly AgentCheck[]> => {
    const query = { filter: equals("ServiceID", instance.id) };
    const answer = await call(access, "GET", { path: "/agent/checks", query, timeoutMs: limitMs }, signal);
    const checks = Object.values((parseAnswer(answer.body.text) ?? {}) as Readonly<Record<string, AgentCheck>>);
    return checks.filter((each) => each.ServiceID === instance.id);
  };

  /** Resolves with who has the id: us, or who lives and has announced it after us. Rejects if nobody has. */
  const renew = async (instance: Instance, checkId: string, signal: AbortSignal): Promise<Holder> => {
    let error: unknown = new ConsulError(`the agent does not know ${instance.id} any more`, { statusCode: 404 });
    if (isTtl) {
      try {
        const request = { path: "/agent/check/pass/{checkId}", params: { checkId }, timeoutMs };
        await call(access, "PUT", request, signal);
        return "us";
      } catch (refusal) {
        if (!isUnknown(refusal)) throw refusal;
        error = refusal;
      }
    }
    const checks = await checksOf(instance, timeoutMs, signal);
    if (!isTtl && checks.some((each) => each.CheckID === checkId)) return "us";
    // Whose check fails has crashed, and will not come back for its id.
    const isTheirs = ({ Notes, Status }: AgentCheck): boolean =>
      Status === "passing" && Notes !== notes && Notes?.startsWith(ANNOUNCED_BY) === true;
    if (checks.some(isTheirs)) return "them";
    throw error;
  };

  const remove = async (instance: Instance, signal: AbortSignal): Promise<void> => {
    const checks = await checksOf(instance, REMOVE_MS, signal);
    if (checks.length > 0 && !checks.some((each) => each.Notes === notes)) return; // somebody else's by now
    try {
      const request = { path: "/agent/service/deregister/{id}", params: { id: instance.id }, timeoutMs: REMOVE_MS };
      await call(access, "PUT", request, signal);
    } catch (error) {
      if (!(error instanceof ConsulError && error.statusCode === 404)) throw error;
    }
  };

  /** The caller left while the agent may have accepted already: nobody else would take that back. */
  const undo = (instance: Instance): void => {
    const cut = writing?.cut ?? new AbortController();
    // The process stays for it, as it does for every removal.
    const letGo = env.after(REMOVE_MS, () => undefined, { keepAlive: true });
    undoing = takeBack(instance, cut.signal)
      .catch(() => undefined) // then the check will: nobody renews it
      .finally(() => {
        letGo();
        cut.abort();
        options.background.delete(undone);
      });
    const undone: Background = { done: undoing, cut: () => cut.abort() };
    options.background.add(undone);
  };

  const takeBack = async (instance: Instance, signal: AbortSignal): Promise<void> => {
    let late = true;
    const written = Promise.resolve(writing?.done).then(
      () => (late = false),
      () => (late = false),
    );
    // An answer that got lost does not delay the removal for long; but what is accepted after it is removed again.
    await Promise.race([written, sleep(env, SETTLE_MS, signal)]);
    const wasLate = late;
    await remove(instance, signal);
    if (!wasLate) return;
    await written;
    await remove(instance, signal);
  };

  return {
    name: "consul",
    async register(instance, signal) {
      await undoing; // or it would remove what is written now
      signal.throwIfAborted();
      const deadlineMs = env.now() + REGISTER_MS;
      let checkId: string;
      try {
        checkId = await announce(instance, deadlineMs, signal);
      } catch (error) {
        // A failed try is not undone: it will be repeated, and a repair must not take away what clients still see.
        if (signal.aborted && !isDiscoveryError(signal.reason, "TIMEOUT")) undo(instance);
        else writing?.cut.abort();
        throw error;
      }
      return {
        renewEveryMs,
        renew: async (renewSignal) => void (await renew(instance, checkId, renewSignal)),
        remove: (removeSignal) => remove(instance, removeSignal),
      };
    },
  };
}

type Holder = "us" | "them";

/** An agent that has lost a TTL check says so: 500 "does not have associated TTL", 404 in newer versions. */
function isUnknown(error: unknown): boolean {
  return error instanceof ConsulError && (error.statusCode === 404 || error.statusCode === 500);
}

interface AgentCheck {
  readonly Notes?: string;
  readonly CheckID?: string;
  readonly ServiceID?: string;
  readonly Status?: string;
  readonly Output?: string;
}

/** An expression for Consul's `filter`, which has no escapes; older versions of Consul ignore it. */
function equals(selector: string, value: string): string | undefined {
  const quote = ['"', "`"].find((each) => !value.includes(each) && !(each === '"' && value.includes("\\")));
  return quote === undefined ? undefined : `${selector} == ${quote}${value}${quote}`;
}

function missingIn(records: unknown, notes: string): string | undefined {
  const entries = Array.isArray(records)
    ? (records as readonly { readonly Checks?: readonly AgentCheck[] | null }[])
    : [];
  const mine = entries.find((entry) => entry?.Checks?.some((check) => check?.Notes === notes));
  if (mine === undefined) return NOT_THERE;
  const failing = mine.Checks?.find((check) => check.Status !== "passing");
  return failing && `check ${failing.CheckID} is ${failing.Status} (${failing.Output?.trim()})`;
}

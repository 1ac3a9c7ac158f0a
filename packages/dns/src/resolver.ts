import { address, bounded, type Env, messageOf, sleep, TimeoutError, untilAborted } from "@rollcall/core";
import { type Answer, keyOf, type Question } from "./client.ts";
import { DnsError } from "./dns-error.ts";
import type { Exchange, NameServer } from "./exchange.ts";

/** How a {@link Resolver} asks. */
export interface ResolverOptions {
  /** Whom to ask now, in this order. */
  readonly servers: () => readonly NameServer[];
  readonly exchange: Exchange;
  /** How long one of them may take. */
  readonly timeoutMs: number;
  /** A name is not asked for sooner after the last time, whatever came of that. */
  readonly intervalMs: number;
  readonly env: Env;
}

/**
 * Resolves with what is known, if it still holds and is not what was `seen` already, and otherwise with the next answer,
 * when it is time for one. Rejects with `signal.reason` as soon as the signal aborts.
 */
export type Resolver = (question: Question, seen: Answer | undefined, signal: AbortSignal) => Promise<Answer>;

/** What is known of a name, and who waits for more. */
interface Entry {
  /** When it may be asked for again. */
  untilMs: number;
  known?: Answer | undefined;
  asking?: { readonly answer: Promise<Answer>; readonly end: AbortController; waiting: number } | undefined;
}

/** Up to a fifth later than said, so that clients that began together do not stay together. */
const JITTER = 0.2;
/** However long the TTL: a server that owns the name has the new records long before. */
const MAX_HOLD_MS = 30_000;

/**
 * Asks name servers, for all sources of a registry: each name at most once at a time, and at most once in each interval,
 * however many ask and however often it failed; and not before the TTL of its answer is over. The servers are asked one
 * after the other, beginning with the one that answered last, until one of them answers.
 */
export function resolver({ servers, exchange, timeoutMs, intervalMs, env }: ResolverOptions): Resolver {
  const entries = new Map<string, Entry>();
  /** Which of the servers is asked first. */
  let preferred = 0;

  async function renew(question: Question, entry: Entry, signal: AbortSignal): Promise<Answer> {
    if (entry.untilMs > env.now()) await sleep(env, entry.untilMs - env.now(), signal);
    signal.throwIfAborted();
    const spread = 1 + env.random() * JITTER;
    entry.known = undefined;
    entry.untilMs = env.now() + intervalMs * spread;
    const answer = await askAll(question, signal);
    entry.untilMs = Math.max(entry.untilMs, env.now() + Math.min(answer.ttlMs, MAX_HOLD_MS) * spread);
    return (entry.known = answer);
  }

  async function askAll(question: Question, signal: AbortSignal): Promise<Answer> {
    const all = servers();
    const errors: unknown[] = [];
    for (const server of [...all.slice(preferred), ...all.slice(0, preferred)]) {
      const onTimeout = (): unknown => new TimeoutError(`dns: ${keyOf(question)} of ${address(server)}`, timeoutMs);
      try {
        const bounds = { timeoutMs, onTimeout, signal };
        const answer = await bounded(env, bounds, (scope) => exchange(server, question, scope.signal));
        preferred = all.indexOf(server);
        return answer;
      } catch (error) {
        signal.throwIfAborted();
        errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    const said = errors.map((error) => messageOf(error)).join("; ") || "there is none";
    throw new DnsError(`no name server has an answer: ${said}`, { cause: new AggregateError(errors) });
  }

  return async (question, seen, signal) => {
    const key = keyOf(question);
    let entry = entries.get(key);
    if (entry === undefined) {
      entry = { untilMs: env.now() };
      // Names may come from outside, and then there is no end of them.
      for (const [old, { asking, untilMs }] of entries) {
        if (asking === undefined && untilMs <= entry.untilMs) entries.delete(old);
      }
      entries.set(key, entry);
    }
    if (entry.known !== undefined && entry.known !== seen && env.now() < entry.untilMs) return entry.known;
    const end = entry.asking?.end ?? new AbortController();
    const asking = (entry.asking ??= { answer: renew(question, entry, end.signal), end, waiting: 0 });
    asking.waiting++;
    try {
      return await untilAborted(asking.answer, signal);
    } finally {
      if (--asking.waiting === 0) {
        // It has ended, or nobody wants it any more.
        entry.asking = undefined;
        end.abort();
      }
    }
  };
}

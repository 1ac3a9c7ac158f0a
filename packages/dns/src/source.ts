import { type Instance, type NormalizedQuery, type Source, readingsOf } from "@rollcall/core";
import { type Answer, type Priorities, type Question, readHosts } from "./client.ts";
import { DnsError } from "./dns-error.ts";
import type { Resolver } from "./resolver.ts";

/**
 * Reads one service by asking for its name again and again, as often as the {@link Resolver} allows.
 *
 * That a name has no records is an answer, and an empty set. After a full one it ends the watch: a zone that was loaded
 * without its records, or a registry behind it that has lost its data, says the same. The next watch says it again, and
 * core believes it after a while. Everything else that is no answer throws.
 */
export function dnsSource(ask: Resolver, query: NormalizedQuery, question: Question, priorities: Priorities): Source {
  const instancesOf = readingsOf("dns", query, DnsError);

  async function* watch(signal: AbortSignal): AsyncGenerator<readonly Instance[]> {
    let seen: Answer | undefined;
    let populated = false;
    while (!signal.aborted) {
      seen = await ask(question, seen, signal);
      const instances = instancesOf(readHosts(seen.hosts, query, priorities));
      if (populated && instances.length === 0) return;
      populated = instances.length > 0;
      yield instances;
    }
  }

  return { name: "dns", watch };
}

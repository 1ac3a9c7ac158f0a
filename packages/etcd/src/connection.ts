import { Agenda, Connection, Turns, messageOf } from "@rollcall/core";
import { EtcdError } from "./etcd-error.ts";
import { type Dialled, EtcdSession, type EtcdSessionOptions } from "./session.ts";

export interface EtcdConnectionOptions extends EtcdSessionOptions {
  /** At least one. */
  readonly hosts: readonly string[];
  /** Makes a client of one host; the session closes it. */
  readonly dial: (host: string) => Dialled;
}

/** How long a host may be silent before the next one is called too (RFC 8305 recommends 250 ms). */
const STAGGER_MS = 250;
/** When all have been called: how long before the first is called again, for a way that was blocked may be free now. */
const REDIAL_MS = 1_000;
/** How many lists are asked for at a time. What is gained by more is lost in memory that a process hardly gives back. */
const MAX_LISTS = 32;

/**
 * The way to etcd. All hosts are called, one shortly after the other, and the first that answers is taken, so that a
 * silent host costs a moment; the next time another host comes first.
 */
export class EtcdConnection extends Connection<EtcdSession> {
  /** For what its users have to do later. */
  readonly agenda: Agenda;
  /** For lists: a thousand services that are watched at once shall not ask for all of theirs in one moment. */
  readonly lists = new Turns(MAX_LISTS);
  readonly #options: EtcdConnectionOptions;
  /** Connections that are being made, and that were thrown away, until it is over. */
  readonly #beginning = new Set<Promise<unknown>>();
  readonly #ending = new Set<Promise<void>>();
  #firstHost = 0;

  constructor(options: EtcdConnectionOptions) {
    super("etcd", options.env);
    this.agenda = new Agenda(options.env);
    this.#options = options;
  }

  override async close(): Promise<void> {
    await super.close();
    await Promise.allSettled(this.#beginning);
    await Promise.all(this.#ending);
  }

  /** Rejects when no host answers in time, with what each said. */
  protected override open(): Promise<EtcdSession> {
    const { hosts, env, timeoutMs } = this.#options;
    const turn = this.#firstHost++;
    const running = new Set<AbortController>();
    const said = new Map<string, string>();
    const { promise, resolve, reject } = Promise.withResolvers<EtcdSession>();
    let calls = 0;
    let cancelNext: (() => void) | undefined;
    let over = false;

    const end = (): void => {
      over = true;
      cancelNext?.();
      cancelLast();
      this.closing.removeEventListener("abort", onClose);
      for (const each of running) each.abort(new EtcdError("another host was faster"));
    };
    const give = (error: unknown): void => {
      end();
      reject(error);
    };
    const onClose = (): void => give(this.closing.reason);
    const call = (): void => {
      cancelNext?.();
      const host = hosts[(turn + calls++) % hosts.length] as string;
      cancelNext = env.after(calls < hosts.length ? STAGGER_MS : REDIAL_MS, call);
      const mine = new AbortController();
      running.add(mine);
      const beginning = this.#begin(host, mine.signal).finally(() => this.#beginning.delete(beginning));
      this.#beginning.add(beginning);
      void beginning.then(
        (session) => {
          running.delete(mine);
          if (over) {
            session.end(new EtcdError("another host was faster"));
            return;
          }
          end();
          resolve(session);
        },
        (error: unknown) => {
          running.delete(mine);
          if (over) return;
          said.set(host, messageOf(error));
          if (said.size === 1) firstError = error;
          // Somebody is still silent, or has not been called yet.
          if (calls < hosts.length) call();
          else if (running.size === 0) give(noHost(hosts, said, firstError));
        },
      );
    };
    let firstError: unknown;
    const cancelLast = env.after(timeoutMs, () => give(noHost(hosts, said, firstError, timeoutMs)));
    this.closing.addEventListener("abort", onClose);
    call();
    return promise;
  }

  #begin(host: string, signal: AbortSignal): Promise<EtcdSession> {
    const dialled = this.#options.dial(host);
    const close = (): Promise<void> => {
      const ending = dialled.close().finally(() => this.#ending.delete(ending));
      this.#ending.add(ending);
      return ending;
    };
    return this.begun(new EtcdSession({ ...dialled, close }, this.#options), signal);
  }
}

function noHost(
  hosts: readonly string[],
  said: ReadonlyMap<string, string>,
  cause: unknown,
  timeoutMs?: number,
): unknown {
  // What a single host said is said best in its own words.
  if (hosts.length === 1 && cause !== undefined) return cause;
  const each = hosts.map((host) => `${host}: ${said.get(host) ?? `no answer within ${timeoutMs} ms`}`);
  return new EtcdError(`no host can be used (${each.join("; ")})`, { cause });
}

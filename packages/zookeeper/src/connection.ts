import { Connection, type Host, messageOf } from "@rollcall/core";
import { Exception } from "node-zookeeper-client";
import { type SessionOptions, ZooKeeperSession } from "./session.ts";
import { ZooKeeperError } from "./zookeeper-error.ts";

/** As many tries fit into the time for an answer, so that a silent server costs a moment. */
const TRIES = 2;

/**
 * The way to ZooKeeper. The hosts are called one after the other (not at the same time, for they would take the session
 * from each other), beginning with the one after the last that was used. A session whose connection broke is taken up
 * again; only when ZooKeeper says that it has expired, there is a new one.
 */
export class ZooKeeperConnection extends Connection<ZooKeeperSession> {
  readonly #hosts: readonly Host[];
  readonly #options: SessionOptions;
  #last: ZooKeeperSession | undefined;
  #turn: number;

  /** @param hosts at least one. */
  constructor(hosts: readonly Host[], options: SessionOptions) {
    super("ZooKeeper", options.env);
    this.#hosts = hosts;
    this.#options = options;
    this.#turn = Math.floor(options.env.random() * hosts.length);
  }

  /** Rejects when no host answers in time, with what each said. */
  protected override async open(): Promise<ZooKeeperSession> {
    const hosts = this.#hosts;
    const connectMs = this.#options.timeoutMs / Math.max(TRIES, hosts.length);
    const errors: unknown[] = [];
    while (errors.length < hosts.length) {
      const host = hosts[this.#turn++ % hosts.length] as Host;
      try {
        const session = new ZooKeeperSession(host, { ...this.#options, connectMs }, this.#last?.resume);
        this.#last = await this.begun(session, this.closing);
        return this.#last;
      } catch (error) {
        this.closing.throwIfAborted();
        const isOver = error instanceof ZooKeeperError && error.code === Exception.SESSION_EXPIRED;
        if (isOver && this.#last !== undefined) this.#last = undefined;
        else errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    throw new ZooKeeperError(`no host can be used (${errors.map(messageOf).join("; ")})`, { cause: errors[0] });
  }
}

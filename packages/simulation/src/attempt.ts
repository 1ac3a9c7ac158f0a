import { type PickResult, rehash } from "@rollcall/core";
import { VirtualEvent } from "./event-heap.ts";
import type { Server } from "./server.ts";

/** What became of an attempt. */
export type Result =
  | "ok"
  /** The server answered with a failure: see the fault `fail`. */
  | "failed"
  /** The server's queue was full. */
  | "full"
  /** The server was dead, or died. */
  | "refused"
  /** No answer came in time. */
  | "timeout"
  /** There was no server to choose. */
  | "none";

/** One call of an application: the same one, at the same time, with the same work, for every policy. */
export interface SimulatedCall {
  readonly startedAt: number;
  readonly client: number;
  /** How heavy it is: which share of calls is lighter. */
  readonly share: number;
  /** Each attempt is as heavy as chance says. */
  readonly isDrawnAnew: boolean;
  /** Decides whether a server that fails now and then fails it. */
  readonly luck: number;
  readonly key: string | undefined;
}

/** Who waits for an attempt. */
export interface AttemptOwner {
  ended(attempt: Attempt, result: Result): void;
}

/** One call on its way to one server and back. As an event it is the moment when the server is done with it. */
export class Attempt extends VirtualEvent {
  readonly call: SimulatedCall;
  readonly server: Server;
  /** How heavy it is: see {@link SimulatedCall}. */
  readonly share: number;
  readonly luck: number;
  readonly owner: AttemptOwner;
  /** Its place at the endpoint, if the owner ends that by itself. */
  readonly lease: PickResult<Server> | undefined;
  /** What the server says, if it does. */
  result: Result = "ok";
  /** How many calls the server had in hand when it answered, without this one; -1: it does not say. */
  reported = -1;
  /** It occupies a worker. */
  isWorkedOn = false;
  /** Nobody waits for it any more. */
  isOver = false;

  constructor(
    call: SimulatedCall,
    number: number,
    server: Server,
    owner: AttemptOwner,
    lease: PickResult<Server> | undefined,
  ) {
    super();
    this.call = call;
    this.server = server;
    this.share = number > 1 && call.isDrawnAnew ? again(call.share, number + 1_000) : call.share;
    this.luck = number === 1 ? call.luck : again(call.luck, number);
    this.owner = owner;
    this.lease = lease;
  }

  /** The client learns how it ended; only the first time counts. */
  end(result: Result): void {
    if (this.isOver) return;
    this.isOver = true;
    this.owner.ended(this, result);
  }

  override run(): void {
    this.server.finish(this);
  }
}

/** What chance says another time: the same for every policy. */
function again(share: number, number: number): number {
  return rehash(share * 2 ** 32, number) / 2 ** 32;
}

import {
  type Check,
  checkOptions,
  InvalidOptionError,
  type InstanceInit,
  is,
  type Registry,
  required,
} from "@rollcall/core";

/** Says that something cannot be, and why: `"no: Consul keeps no log that could be compacted"`. */
export type No = `no: ${string}`;

/** The numbers of the rules, as in the documentation of the kit. */
export type RuleNumber = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15 | 16 | 17 | 18 | 19;

/** Which record a fault is about. */
export interface RecordName {
  readonly service: string;
  readonly id: string;
}

/** What can happen to the registry's server. Each method resolves when it has happened. */
export interface Faults {
  /** It dies as by `kill -9`: connections break, new ones are refused. What it has on disk stays there. */
  kill(): Promise<void>;
  /** It keeps its connections but answers no more: `SIGSTOP`, or a network that drops every packet. */
  readonly hang: (() => Promise<void>) | No;
  /** Ends `kill` and `hang`: resolves when it answers reads and writes again. Does nothing if it runs. */
  start(): Promise<void>;
  /** It loses every record, and with them its index, revisions and sessions; it runs (again) when this resolves. */
  readonly wipe: (() => Promise<void>) | No;
  /**
   * Running watches are lost, and what `meanwhile` does cannot be replayed to them (the connection is cut, the log is
   * compacted), while the records stay. It awaits `meanwhile`, which uses `seed` and nothing else.
   */
  readonly loseWatch: ((meanwhile: () => Promise<void>) => Promise<void>) | No;
  /**
   * The ways in which the registry drops one record although its owner lives: `{ "its lease is revoked": …, "its owner's
   * event loop stands still beyond the TTL": … }`. Each resolves when the registry has dropped it.
   */
  readonly forget: Readonly<Record<string, (record: RecordName) => Promise<void>>> | No;
}

/** What a registry can by its nature, or cannot, and then why. */
export type Capabilities = {
  /**
   * Whether a registry that was killed and started again still has the records that were renewed once. If their TTL goes
   * on meanwhile, it must outlast `settleMs`, the start, and the two seconds after which a client looks again at the
   * latest.
   */
  readonly remembersAfterRestart: true | No;
  /** Whether `seed` can write two records with the same id into one service. */
  readonly holdsDuplicates: true | No;
} & {
  /** A rule that this registry cannot keep. It is not run, and a test says why. */
  readonly [Rule in RuleNumber]?: No | undefined;
};

/**
 * What the author of a backend writes to have it checked: how to open it on a real server, and how to hurt that server.
 *
 * Every ability has either a way to do it or a reason why not (a string `"no: …"`); each reason shows up as a test of
 * its own. Nobody else may use the server's faults meanwhile; names of services are unique, so data do not matter.
 */
export interface Harness {
  /** In the titles of the tests: `consul`. */
  readonly name: string;
  /** Within how many milliseconds a change is seen by a client. The kit is patient for four times as long elsewhere. */
  readonly settleMs: number;
  /**
   * After how many milliseconds a registration is gone for sure if nobody renews it: its TTL and the registry's own
   * delay. The registrations of `open()` must be renewed at least twice in this time, or looked after as often.
   */
  readonly expireMs: number;
  /**
   * How many milliseconds a registry that hangs may go unnoticed: the backend's own time-out. Default: four times
   * `settleMs`.
   */
  readonly noticeMs?: number | undefined;
  /** Makes a new registry on the server, with the very `options` below. The kit closes it. */
  open(): Registry | Promise<Registry>;
  /** What `open` passes to the backend, so that rule 13 can see that it stays as it was. */
  readonly options: object;
  /**
   * Makes a registry on the same server whose registrations the server refuses: a wrong token, a forbidden name space.
   * The kit closes it.
   */
  readonly openRefused: (() => Registry | Promise<Registry>) | No;
  /**
   * Writes healthy records that nobody renews, past every registry that was opened, as another tool would. They stay at
   * least ten times `settleMs`, but no fault brings them back.
   */
  readonly seed: ((records: readonly (InstanceInit & { readonly id: string })[]) => Promise<void>) | No;
  readonly faults: Faults;
  /** How many sockets and timers the registries of `open` hold now, also those that do not keep the process alive. */
  handles(): number;
  readonly capabilities: Capabilities;
}

/** Whether this is a reason instead of an ability. */
export function isNo(value: unknown): value is No {
  return typeof value === "string";
}

/**
 * Checks a harness as its author wrote it.
 *
 * @throws InvalidOptionError for a missing ability without a reason, an empty reason, an unknown key.
 */
export function checkHarness(harness: Harness): void {
  checkOptions("", harness, {
    name: required(is.nonEmptyString),
    settleMs: required(is.number(1)),
    expireMs: required(is.number(1)),
    noticeMs: is.number(1),
    open: required(is.function),
    options: required(is.object),
    openRefused: required(ability(is.function)),
    seed: required(ability(is.function)),
    faults: required(
      is.shape({
        kill: required(is.function),
        hang: required(ability(is.function)),
        start: required(is.function),
        wipe: required(ability(is.function)),
        loseWatch: required(ability(is.function)),
        forget: required(ability(is.object)),
      }),
    ),
    handles: required(is.function),
    capabilities: required(
      is.shape({
        remembersAfterRestart: required(ability(is.oneOf(true))),
        holdsDuplicates: required(ability(is.oneOf(true))),
        ...Object.fromEntries(RULE_NUMBERS.map((number) => [number, reason])),
      }),
    ),
  });
}

const RULE_NUMBERS = Array.from({ length: 19 }, (_, index) => String(index + 1));

const reason: Check = (value, path) => {
  if (typeof value !== "string" || !/^no: .*\S/.test(value)) {
    throw new InvalidOptionError(path, 'the ability, or the reason why not: "no: …"', value);
  }
};

/** Either what `inner` wants or a reason. */
function ability(inner: Check): Check {
  return (value, path) => {
    if (typeof value === "string" || value === undefined || value === false) reason(value, path);
    else inner(value, path);
  };
}

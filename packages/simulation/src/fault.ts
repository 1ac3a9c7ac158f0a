import { type Check, InvalidOptionError, checkOptions, is } from "@rollcall/core";
import { type Distribution, checkDistribution } from "./distribution.ts";
import { MOST, POSITIVE } from "./range.ts";

/** When something holds, in milliseconds from the start. */
export interface Span {
  /** Default 0. */
  readonly fromMs?: number | undefined;
  /** Default: for ever. */
  readonly toMs?: number | undefined;
  /** Comes again after so long, as long as calls come: the span is that of the first time. Default: once. */
  readonly everyMs?: number | undefined;
}

/** What is wrong with a server for a time. Several may hold at once. */
export type Fault =
  /**
   * It works `factor` times slower, also on what it has begun. Or `work` takes the place of the scenario's, for calls that
   * are begun meanwhile.
   */
  | (Span & { readonly kind: "slow"; readonly factor?: number | undefined; readonly work?: Distribution | undefined })
  /** It stands still: a long collection of garbage, a suspended machine. What it has begun goes on afterwards. */
  | (Span & { readonly kind: "pause" })
  /** It answers this share of its calls with a failure (default: all), after `afterMs` (default 1), without any work. */
  | (Span & { readonly kind: "fail"; readonly rate?: number | undefined; readonly afterMs?: number | undefined })
  /** Nothing reaches it, and none of its answers comes back: a partition, a firewall. */
  | (Span & { readonly kind: "unreachable" })
  /** Its process is gone: what it had in hand fails at once, and connections are refused. */
  | (Span & { readonly kind: "dead" });

const SPAN = { fromMs: is.number(0, MOST), toMs: is.number(0), everyMs: is.number(1, MOST) };

const SHAPES: Readonly<Record<Fault["kind"], Readonly<Record<string, Check>>>> = {
  slow: { factor: POSITIVE, work: checkDistribution },
  pause: {},
  fail: { rate: is.number(0, 1), afterMs: is.number(0, MOST) },
  unreachable: {},
  dead: {},
};

/** Throws `InvalidOptionError` unless `value` is a {@link Fault}. */
export function checkFault(value: unknown, path: string): void {
  is.object(value, path);
  const kind: unknown = Reflect.get(Object(value), "kind");
  if (typeof kind !== "string" || !Object.hasOwn(SHAPES, kind)) {
    throw new InvalidOptionError(`${path}.kind`, Object.keys(SHAPES).join(" | "), kind);
  }
  checkOptions(path, value, { kind: is.string, ...SPAN, ...SHAPES[kind as Fault["kind"]] });
  const { kind: _, fromMs = 0, toMs = Infinity, everyMs = Infinity } = value as Fault;
  if (toMs <= fromMs) throw new InvalidOptionError(`${path}.toMs`, `more than fromMs (${fromMs})`, toMs);
  if (everyMs < toMs - fromMs) throw new InvalidOptionError(`${path}.everyMs`, "at least toMs - fromMs", everyMs);
}

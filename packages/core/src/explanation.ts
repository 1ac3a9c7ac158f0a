import type { Endpoint } from "./endpoint.ts";
import type { Snapshot } from "./snapshot.ts";

/** What a policy says about one endpoint. Every field is left out by policies that do not think in it. */
export interface Judgement {
  /** How loaded, slow or unsound the policy takes it to be: lower is better, comparable within one explanation only. */
  readonly cost?: number | undefined;
  /** The weight it is chosen by, where that is not simply the instance's. */
  readonly weight?: number | undefined;
  /** For how many more milliseconds it is ejected; 0 when only a probe is missing. */
  readonly ejectedForMs?: number | undefined;
  /** One more thing to know, in words: `probe in flight`. */
  readonly note?: string | undefined;
}

/** What a policy says about a set, see {@link PolicyState.explain}. */
export interface PolicyView {
  /** What the next pick would take. Left out where chance decides. */
  readonly next?: Endpoint | undefined;
  /** Why that one, or how it would be found: one clause, such as `the lowest cost of all 4`. */
  readonly why: string;
  readonly judgements?: ReadonlyMap<Endpoint, Judgement> | undefined;
}

/** One endpoint in an {@link Explanation}. */
export interface Candidate extends Judgement {
  readonly endpoint: Endpoint;
  readonly weight: number;
  readonly inFlight: number;
  /** Why it would not be picked for this request, if so: `drained`, `avoided`, `ejected`. */
  readonly excluded?: "drained" | "avoided" | "ejected" | undefined;
}

/** What a balancer would do, and why. Plain data; a moment later it may be different. */
export interface Explanation {
  readonly service: string;
  readonly state: Snapshot["state"];
  readonly policy: string;
  /** In the order of the endpointer. */
  readonly candidates: readonly Candidate[];
  /** What the next pick with this request would take. Left out where chance decides, and when there is nothing. */
  readonly next?: Endpoint | undefined;
  readonly why: string;
}

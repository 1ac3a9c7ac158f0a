import type { Endpoint } from "./endpoint.ts";
import type { LoadReport } from "./load-report.ts";

/**
 * How a pick ended. `cancelled`: the caller left; the slot is released and nothing is learnt. If it was `superseded`,
 * another attempt of the same call has decided it meanwhile: that is no failure, but a policy may learn from it that an
 * answer takes at least so long here.
 */
export type Outcome =
  | { readonly kind: "success" }
  | { readonly kind: "failure"; readonly error: unknown }
  | { readonly kind: "cancelled"; readonly superseded?: true };

/** The outcomes that carry nothing: frozen, so that they can be shared by all picks. */
export const SUCCESS: Outcome = Object.freeze({ kind: "success" });
export const CANCELLED: Outcome = Object.freeze({ kind: "cancelled" });
export const SUPERSEDED: Outcome = Object.freeze({ kind: "cancelled", superseded: true });

/** What a pick may depend on. */
export interface PickRequest {
  /** What hashing policies hash: the same key goes to the same endpoint. */
  readonly key?: string | undefined;
  /** Endpoints not to pick while there is another one. */
  readonly avoid?: ReadonlySet<Endpoint> | undefined;
}

/** A lease on an endpoint: its slot is taken (`inFlight`) until `done`. */
export interface PickResult<C> extends Disposable {
  readonly endpoint: Endpoint<C>;
  /** Ends the pick; only the first call counts. Disposing without it means `cancelled`. */
  done(outcome: Outcome): void;
  /**
   * Tells the policy what the endpoint said of its load: before `done`, as soon as it is known. Left out where the policy
   * does not want to know: then there is no need to read it. Never throws; what is no report goes to a channel.
   */
  readonly report?: ((report: LoadReport) => void) | undefined;
}

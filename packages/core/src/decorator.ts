import { pickAvoiding } from "./avoiding.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Env } from "./env.ts";
import { InvalidOptionError } from "./errors.ts";
import type { PolicyView } from "./explanation.ts";
import { hash } from "./hash.ts";
import { is, required } from "./options.ts";
import type { NonEmpty, Picker, Policy, PolicyState } from "./policy.ts";

/** The hooks of a state that learns, bound to it; none of a state that does not, so that nothing is paid for it. */
export function hooksOf(state: PolicyState): Pick<PolicyState, "started" | "observe" | "report"> {
  const { started, observe } = state;
  return {
    ...(started === undefined ? {} : { started: started.bind(state) }),
    ...(observe === undefined ? {} : { observe: observe.bind(state) }),
    ...reportOf(state),
  };
}

/** The same, for decorators that learn from the calls themselves: what endpoints say is for the child alone. */
export function reportOf(state: PolicyState): Pick<PolicyState, "report"> {
  return state.report === undefined ? {} : { report: state.report.bind(state) };
}

/**
 * Checks the child of a decorator, as far down as there are children.
 *
 * @throws InvalidOptionError if it is no policy, or if what it wraps makes no sense here: `refused` are the names, each with
 * the reason.
 */
export function checkChild(child: unknown, refused: Readonly<Record<string, string>> = {}): void {
  required(is.policy)(child, "child");
  for (let each: Policy | undefined = child as Policy; each !== undefined; each = each.child) {
    // Who writes no TypeScript may have left the name out.
    const name: unknown = each.name;
    const reason = typeof name === "string" ? refused[name.replace(/[+(].*$/, "")] : undefined;
    if (reason !== undefined) throw new InvalidOptionError("child", reason, each.name);
  }
}

/** How the child sees a set, for a decorator's own view of it. */
export function viewOf(
  child: Policy,
  state: PolicyState,
  ...of: Parameters<NonNullable<PolicyState["explain"]>>
): PolicyView {
  return state.explain?.(...of) ?? { why: `${child.name} does not say` };
}

/** The name of a decorated policy: `zone-aware(peak-ewma)`. */
export function nameOf(decorator: string, child: Policy): string {
  return `${decorator}(${child.name})`;
}

/**
 * A state of the child for each group of a set: pickers of one state share what they remember of their place in the set,
 * so each group needs one of its own. What is learnt goes to the state whose group the endpoint was last in.
 */
export class Branches {
  readonly #child: Policy;
  readonly #env: Env;
  readonly #states = new Map<unknown, PolicyState>();
  readonly #stateOf = new WeakMap<Endpoint, PolicyState>();
  /** To be put into the decorator's own state. */
  readonly hooks: Pick<PolicyState, "started" | "observe" | "report">;

  constructor(child: Policy, env: Env) {
    this.#child = child;
    this.#env = env;
    const sample = child.create(env);
    this.#spare = sample;
    this.hooks = {
      ...(sample.started === undefined
        ? {}
        : { started: (endpoint, nowMs) => this.#stateOf.get(endpoint)?.started?.(endpoint, nowMs) }),
      ...(sample.observe === undefined
        ? {}
        : {
            observe: (endpoint, outcome, latencyMs, nowMs) =>
              this.#stateOf.get(endpoint)?.observe?.(endpoint, outcome, latencyMs, nowMs),
          }),
      ...(sample.report === undefined
        ? {}
        : { report: (endpoint, report, nowMs) => this.#stateOf.get(endpoint)?.report?.(endpoint, report, nowMs) }),
    };
  }

  /** Made to see what hooks there are; the first group takes it. */
  #spare: PolicyState | undefined;

  /** The picker of a group, which takes one that is to be avoided only if the group has no other. */
  picker<E extends Endpoint>(group: unknown, endpoints: NonEmpty<E>, all: NonEmpty<E>): Picker<E> {
    const state = this.#state(group);
    for (const endpoint of endpoints) this.#stateOf.set(endpoint, state);
    const picker = state.picker(endpoints, all);
    return (request, nowMs) => pickAvoiding(state, picker, endpoints, request, nowMs);
  }

  /** The state of a group if it has been used; changes nothing. */
  peek(group: unknown): PolicyState | undefined {
    return this.#states.get(group);
  }

  /** Forgets the groups that are gone. */
  keep(groups: ReadonlySet<unknown>): void {
    for (const group of this.#states.keys()) if (!groups.has(group)) this.#states.delete(group);
  }

  #state(group: unknown): PolicyState {
    let state = this.#states.get(group);
    if (state === undefined) {
      state = this.#spare ?? this.#child.create(this.#env);
      this.#spare = undefined;
      this.#states.set(group, state);
    }
    return state;
  }
}

/**
 * Where a key stands among shares, in [0, bound): always at the same place, so that its group changes only when the shares
 * do.
 */
export function standing(key: string, bound: number): number {
  return Math.floor((hash(key, STANDING) / 2 ** 32) * bound);
}

/** Independent of where in its group the key belongs. */
const STANDING = 0x5bd1e995;

/** Sorts a set into groups, in the order of their first members. */
export function groupsOf<K, E extends Endpoint>(
  endpoints: NonEmpty<E>,
  keyOf: (endpoint: E) => K,
): Map<K, NonEmpty<E>> {
  const groups = new Map<K, [E, ...E[]]>();
  for (const endpoint of endpoints) {
    const key = keyOf(endpoint);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [endpoint]);
    else group.push(endpoint);
  }
  return groups;
}

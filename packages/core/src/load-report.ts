/**
 * What an instance says of itself: how loaded it is at this moment. Every field may be left out by those that do not
 * know; numbers are finite and never negative. It comes with an answer, so it costs no call of its own, and it tells what
 * a client cannot see: the calls of all the others.
 */
export interface LoadReport {
  /** Calls that it is working on, whoever made them, without the one that carries the report. */
  readonly inFlight?: number | undefined;
  /** How busy it was lately: 0 for idle, 1 for no time left (of a Node process: its event loop). May be above 1. */
  readonly utilization?: number | undefined;
}

/** Whether it is a report that can be believed: at least one number, all of them finite and not negative. */
export function isLoadReport(value: unknown): value is LoadReport {
  if (typeof value !== "object" || value === null) return false;
  const { inFlight, utilization } = value as Record<keyof LoadReport, unknown>;
  if (inFlight === undefined && utilization === undefined) return false;
  return isAmount(inFlight) && isAmount(utilization);
}

function isAmount(value: unknown): boolean {
  return value === undefined || (typeof value === "number" && value >= 0 && value < Infinity);
}

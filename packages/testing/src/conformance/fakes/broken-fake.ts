import type { Harness, RuleNumber } from "../harness.ts";
import { type FakePlace, type Fault, recordHarness } from "./record-harness.ts";

/** A backend that works but for one thing. */
export interface BrokenFake {
  /** The one rule that it breaks. */
  readonly breaks: RuleNumber;
  /** What is wrong with it, in words. */
  readonly fault: string;
  /** A new server with its own registries, so that rules can run side by side. */
  harness(): Harness;
}

/** Makes a {@link BrokenFake}; `make` is called for each registry that is opened. */
export function brokenFake(
  breaks: RuleNumber,
  fault: string,
  make: (place: FakePlace) => Fault,
  ttlMs?: number,
): BrokenFake {
  return { breaks, fault, harness: () => recordHarness(`a backend that ${fault}`, make, ttlMs) };
}

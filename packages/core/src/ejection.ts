/** How long ejections last, and how many there may be. */
export interface EjectionRules {
  readonly ejectMs: number;
  readonly ejectMostMs: number;
  /** The share of the set that may be out at once. One may always be, if there are two; the last one never. */
  readonly maxEjected: number;
}

/** Whether one more may be ejected from a set of `size`. */
export function mayEject(size: number, ejected: number, { maxEjected }: Pick<EjectionRules, "maxEjected">): boolean {
  return ejected < Math.max(1, Math.floor(size * maxEjected)) && ejected < size - 1;
}

/**
 * The way of one endpoint out of the set and back: ejected for a time, then on probation, where the first call decides.
 * The time doubles with each ejection in a row, and is halved again for each interval without one.
 */
export class Ejection {
  /** Until when it is ejected, or undefined: it is well or on probation. */
  until: number | undefined = undefined;
  /** Its time is over, and one call has to decide. */
  isOnProbation = false;
  /** When that call began, or undefined: nobody has made it yet. */
  probedAt: number | undefined = undefined;
  #level = 0;

  /** Out of the set, or on its way back. */
  get isOut(): boolean {
    return this.until !== undefined || this.isOnProbation;
  }

  /** `chance` in [0, 1) spreads the returns of a fleet of clients. */
  eject(nowMs: number, { ejectMs, ejectMostMs }: EjectionRules, chance: number): void {
    const jitter = 0.9 + 0.2 * chance;
    this.until = nowMs + Math.min(ejectMostMs, ejectMs * 2 ** this.#level) * jitter;
    this.isOnProbation = false;
    this.probedAt = undefined;
    this.#level = Math.min(this.#level + 1, 30);
  }

  /** The time is over. */
  giveChance(): void {
    this.until = undefined;
    this.isOnProbation = true;
    this.probedAt = undefined;
  }

  /** As if nothing had been, but for the time of the next one. */
  clear(): void {
    this.until = undefined;
    this.isOnProbation = false;
    this.probedAt = undefined;
  }

  /** An interval without ejection has passed. */
  forgive(): void {
    this.#level = Math.max(0, this.#level - 1);
  }
}

const RealDate = Date;
let shiftMs = 0;

/** The wall clock of this process, as somebody may set it. */
class ShiftedDate extends RealDate {
  constructor(...values: [] | [number | string | Date]) {
    if (values.length === 0) super(RealDate.now() + shiftMs);
    else super(...values);
  }

  static override now(): number {
    return RealDate.now() + shiftMs;
  }
}

/** Moves this process's wall clock so far away from the right time. The monotonic clock cannot be moved. */
export function shiftClock(byMs: number): void {
  shiftMs = byMs;
  globalThis.Date = byMs === 0 ? RealDate : (ShiftedDate as DateConstructor);
}

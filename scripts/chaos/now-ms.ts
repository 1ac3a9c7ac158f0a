/** Milliseconds of the machine's monotonic clock: the same in all of its processes, whatever they think the date is. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

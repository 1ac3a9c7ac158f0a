import { channels } from "./channels.ts";
import type { NormalizedQuery } from "./create-registry.ts";
import { messageOf } from "./errors.ts";
import type { Instance } from "./instance.ts";

/** One record of a registry, as it was read: an instance, nothing by its own account, or why it makes no sense. */
export interface Reading {
  readonly instance?: Instance | undefined;
  /** What is shown of one that makes no sense. */
  readonly record?: unknown;
  /** Is there if, and only if, it makes no sense. */
  readonly error?: unknown;
  /** It cannot be an instance's, whatever it holds: another program's, which says nothing of the service. */
  readonly foreign?: boolean | undefined;
}

/** Enough to see what is wrong; a list of 100,000 bad records must not become 100,000 messages. */
const MAX_REPORTED = 10;

/** Reads one record. Never throws: what `decode` throws is part of the reading. */
export function readRecord(record: unknown, decode: () => Instance | undefined): Reading {
  try {
    return { instance: decode() };
  } catch (error) {
    return { record, error };
  }
}

/** What a backend throws. */
export type FailureClass = new (message: string, options: { readonly cause: unknown }) => Error;

/**
 * Makes the function that turns all readings of a service into its instances, those that have the query's tags. What
 * makes no sense is left out, and each reading of it reported once on `channels.badRecord`, however often it is given.
 *
 * That function throws a `Failure` if there are bad records and no good one, of whatever tags: nothing but junk must not
 * pass for nothing.
 *
 * @param registry the backend's name, for reports.
 */
export function readingsOf(
  registry: string,
  { service, tags }: NormalizedQuery,
  Failure: FailureClass,
): (readings: readonly Reading[]) => readonly Instance[] {
  const reported = new WeakSet<Reading>();

  return (readings) => {
    const bad = readings.filter((reading) => "error" in reading);
    const fresh = bad.filter((reading) => !reported.has(reading));
    for (const reading of fresh) reported.add(reading);
    reportBad(registry, service, fresh);
    const instances = readings.flatMap(({ instance }) => instance ?? []);
    const junk = bad.filter(({ foreign }) => foreign !== true);
    const [first] = junk;
    if (instances.length === 0 && first !== undefined) throw noneUsable(Failure, service, junk.length, first.error);
    return instances.filter((instance) => tags.every((tag) => instance.tags.includes(tag)));
  };
}

/**
 * Says on `channels.badRecord` what makes no sense, and shows the first of it. Does nothing if there is nothing.
 *
 * {@link readingsOf} does it by itself. Who reads so much that it looks at changes only, does it for these.
 *
 * @param skipped how many there are, if not all of them were kept.
 */
export function reportBad(registry: string, service: string, bad: readonly Reading[], skipped = bad.length): void {
  if (skipped === 0) return;
  const errors = bad.slice(0, MAX_REPORTED).map(({ record, error }) => ({ record, error }));
  channels.badRecord.publish({ registry, service, skipped, errors });
}

/** Makes the error for `count` bad records without a good one; `cause` is what is wrong with the first. See {@link readingsOf}. */
export function noneUsable(Failure: FailureClass, service: string, count: number, cause: unknown): Error {
  return new Failure(`none of ${count} records of service "${service}" is usable: ${messageOf(cause)}`, { cause });
}

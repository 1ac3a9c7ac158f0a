/** What has become of a promise so far. */
export interface Settlement<T> {
  readonly state: "pending" | "fulfilled" | "rejected";
  readonly value?: T;
  readonly error?: unknown;
}

/** Looks at a promise without waiting for it; the answer keeps itself up to date. */
export function settlement<T>(promise: Promise<T>): Settlement<T> {
  const seen: { -readonly [K in keyof Settlement<T>]: Settlement<T>[K] } = { state: "pending" };
  promise.then(
    (value) => {
      seen.state = "fulfilled";
      seen.value = value;
    },
    (error: unknown) => {
      seen.state = "rejected";
      seen.error = error;
    },
  );
  return seen;
}

/** The error that a promise rejects with; fails if it does not reject. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it was fulfilled, not rejected");
}

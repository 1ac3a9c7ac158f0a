import { InvalidOptionError, is } from "@rollcall/core";

const statuses = (value: unknown, path: string): void => {
  const isStatus = (one: unknown): boolean => Number.isInteger(one) && Number(one) >= 200 && Number(one) <= 599;
  if (!Array.isArray(value) || !value.every(isStatus)) {
    throw new InvalidOptionError(path, "an array of status codes from 200 to 599", value);
  }
};

const headers = (value: unknown, path: string): void => {
  is.object(value, path);
  for (const [name, one] of Object.entries(Object(value))) is.string(one, `${path}.${name}`);
};

const protocol = (value: unknown, path: string): void => {
  if (typeof value !== "function") is.oneOf("http", "https")(value, path);
};

/** The options of HTTP clients of any kind, for whoever takes them along with its own. */
export const HTTP_CHECKS = { protocol, headers, failureStatuses: statuses, sendDeadline: is.boolean };

/** Core's default of `retry.timeoutMs`. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/** Default of `failureStatuses`. */
export const FAILURE_STATUSES: readonly number[] = [429, 502, 503, 504];

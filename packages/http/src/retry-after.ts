/**
 * How long a `Retry-After` header asks to wait, in milliseconds; `undefined` if there is none, or one that says nothing.
 *
 * The header is a number of seconds or an HTTP date (RFC 9110, 10.2.3). A date is compared with the `Date` of the same
 * answer where there is one, so that it does not matter whose clock is wrong; else with this machine's.
 */
export function retryAfterMs(retryAfter: HeaderValue, date?: HeaderValue): number | undefined {
  const value = single(retryAfter)?.trim();
  if (value === undefined || value === "") return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1_000;
  const until = httpDate(value);
  if (until === undefined) return undefined;
  const now = httpDate(single(date)?.trim() ?? "") ?? Date.now();
  return Math.max(0, until - now);
}

/** A header as undici gives it: an array when it was there more than once. */
type HeaderValue = string | string[] | undefined;

function single(value: HeaderValue): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

/** `Date.parse` reads almost anything as a date, "-1" for one; HTTP dates begin with the day of the week. */
function httpDate(value: string): number | undefined {
  if (!/^[A-Z][a-z]{2,8},? /.test(value)) return undefined;
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? undefined : ms;
}

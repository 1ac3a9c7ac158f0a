import type { Dispatcher } from "undici";

/** Headers in any form undici takes: an object, pairs (a `Headers`, a `Map`), or a flat list of names and values. */
export type RequestHeaders = Dispatcher.DispatchOptions["headers"];

type Value = string | readonly string[] | undefined;

/**
 * What is sent: the call's own headers, and before them those of `defaults` (a flat list) that the call does not set,
 * whatever the case of their names. Without defaults the call's own object goes through untouched.
 */
export function mergeHeaders(defaults: readonly string[], given: RequestHeaders): RequestHeaders {
  if (defaults.length === 0) return given;
  if (given === undefined || given === null) return defaults as string[];
  const own = flatten(given);
  const names = new Set<string>();
  for (let index = 0; index < own.length; index += 2) names.add(String(own[index]).toLowerCase());
  const merged: Value[] = [];
  for (let index = 0; index < defaults.length; index += 2) {
    const name = defaults[index] ?? "";
    if (!names.has(name.toLowerCase())) merged.push(name, defaults[index + 1]);
  }
  merged.push(...own);
  // undici also takes lists as values in this form; only its types do not say so.
  return merged as string[];
}

/** The same headers, but these instead of those of the same names. */
export function replaceHeaders(given: RequestHeaders, replacing: string[]): RequestHeaders {
  return mergeHeaders(given === undefined || given === null ? [] : (flatten(given) as string[]), replacing);
}

/** A flat list of the entries of an object, leaving out what is undefined. */
export function flatHeaders(headers: Readonly<Record<string, string>> | undefined): string[] {
  return Object.entries(headers ?? {}).flat();
}

function flatten(headers: NonNullable<RequestHeaders>): readonly Value[] {
  if (Array.isArray(headers)) return headers.length > 0 && Array.isArray(headers[0]) ? headers.flat() : headers;
  const entries: Value[] = [];
  if (isPairs(headers)) {
    for (const [name, value] of headers) entries.push(name, value);
  } else {
    for (const [name, value] of Object.entries(headers)) {
      if (value !== undefined) entries.push(name, Array.isArray(value) ? value : String(value));
    }
  }
  return entries;
}

function isPairs(headers: NonNullable<RequestHeaders>): headers is Iterable<[string, string | string[] | undefined]> {
  return Symbol.iterator in headers;
}

import { type Instance, InvalidOptionError, address } from "@rollcall/core";
import type { Answer } from "./exchange.ts";

/** The request that a redirect leads to. */
export interface Redirection {
  /** The new request target. */
  readonly target: string;
  /** The method changes to GET, and the body is dropped. */
  readonly toGet: boolean;
}

/** As many as the Fetch standard allows. */
const MAX_REDIRECTS = 20;

function isRedirect(statusCode: number): boolean {
  return REDIRECTS.has(statusCode);
}

/**
 * Where a redirect leads, if it stays within the service: a relative `Location`, or one that names the service or the
 * instance that answered. `undefined` for one that leaves it (the balancer must not be led elsewhere) or leads nowhere.
 * The rules of the method are the Fetch standard's (HTTP-redirect fetch, step 12).
 */
export function redirection(
  statusCode: number,
  location: string | string[] | undefined,
  method: string,
  from: { readonly target: string; readonly service: string; readonly instance: Instance },
): Redirection | undefined {
  if (!isRedirect(statusCode) || typeof location !== "string") return undefined;
  const here = `http://${address(from.instance)}`;
  let url: URL;
  try {
    url = new URL(location, here + from.target);
  } catch {
    return undefined;
  }
  const own = new URL(here);
  const stays = url.host === own.host || url.host === from.service.toLowerCase();
  if (!stays || !/^https?:$/.test(url.protocol) || url.pathname.startsWith("//")) return undefined;
  const toGet = statusCode === 303 ? method !== "GET" && method !== "HEAD" : statusCode <= 302 && method === "POST";
  return { target: url.pathname + url.search, toGet };
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export type RedirectMode = "follow" | "manual" | "error";

/** A request that may be redirected. */
export interface RedirectedRequest {
  readonly method: string;
  readonly target: string;
  /** Those that describe the body are deleted when it is dropped. */
  readonly headers: Headers;
  /** Whether its body is gone once it has been sent: a redirect that wants it again cannot be followed. */
  readonly streams: boolean;
}

/** The answer at the end of the redirects, and what it answers. */
export interface Redirected<A> {
  readonly answer: A;
  readonly method: string;
  readonly target: string;
  readonly redirected: boolean;
}

/**
 * Sends a request, and follows its redirects as long as they stay within the service. Each one is a balanced request of
 * its own: `send` is told what to send, and whether with the body. An answer that nobody gets goes to `drop`.
 */
export async function followRedirects<A extends Answer & { readonly instance: Instance }>(
  service: string,
  mode: RedirectMode,
  { method, target, headers, streams }: RedirectedRequest,
  send: (method: string, target: string, withBody: boolean) => Promise<A>,
  drop: (answer: A) => void,
): Promise<Redirected<A>> {
  let withBody = true;
  for (let redirects = 0; ; redirects++) {
    const answer = await send(method, target, withBody);
    const { statusCode, instance } = answer;
    const done = { answer, method, target, redirected: redirects > 0 };
    if (mode === "manual" || !isRedirect(statusCode)) return done;
    if (mode === "error") throw refused(answer, drop, `a redirect (${statusCode}), which "redirect" forbids`);
    const next = redirection(statusCode, answer.headers["location"], method, { target, service, instance });
    if (next === undefined || (!next.toGet && streams && withBody)) return done;
    if (redirects === MAX_REDIRECTS) throw refused(answer, drop, `more than ${MAX_REDIRECTS} redirects`);
    drop(answer);
    ({ target } = next);
    if (next.toGet) {
      method = "GET";
      withBody = false;
      for (const name of BODY_HEADERS) headers.delete(name);
    }
  }
}

/** Throws `InvalidOptionError` for what is no mode. */
export function redirectMode(mode: unknown = "follow"): RedirectMode {
  if (mode === "follow" || mode === "manual" || mode === "error") return mode;
  throw new InvalidOptionError("redirect", "follow | manual | error", mode);
}

const BODY_HEADERS = ["content-encoding", "content-language", "content-location", "content-type", "content-length"];

function refused<A>(answer: A, drop: (answer: A) => void, what: string): TypeError {
  drop(answer);
  return new TypeError(`fetch failed: the service answered with ${what}`);
}

import { type Instance, address } from "@rollcall/core";

/** The request that a redirect leads to. */
export interface Redirection {
  /** The new request target. */
  readonly target: string;
  /** The method changes to GET, and the body is dropped. */
  readonly toGet: boolean;
}

/** As many as the Fetch standard allows. */
export const MAX_REDIRECTS = 20;

export function isRedirect(statusCode: number): boolean {
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

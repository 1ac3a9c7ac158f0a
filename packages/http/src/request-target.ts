import { InvalidOptionError } from "@rollcall/core";

/** One value of a query parameter. `undefined` and `null` leave the parameter out. */
export type QueryValue = string | number | boolean | bigint | null | undefined;

/** Query parameters; an array repeats its name, in order. */
export type Query = URLSearchParams | Readonly<Record<string, QueryValue | readonly QueryValue[]>>;

/**
 * The request target as it goes over the wire: `path` with the parameters of `query` appended to whatever query it has.
 *
 * A path starts with one slash. Anything that could name another host (an absolute URL, `//host`, `/\host`, which URL
 * parsers read as `//host`) and a fragment, which is never sent, is refused with `InvalidOptionError`: a path is often
 * put together from user input, and the host must stay the balancer's choice.
 */
export function requestTarget(path: string, query?: Query): string {
  if (typeof path !== "string" || path.charCodeAt(0) !== SLASH) throw refused(path);
  const second = path.charCodeAt(1);
  if (second === SLASH || second === BACKSLASH || path.includes("#")) throw refused(path);
  if (query === undefined) return path;
  const parameters = queryString(query);
  if (parameters === "") return path;
  return `${path}${path.includes("?") ? "&" : "?"}${parameters}`;
}

/**
 * The request target of what `fetch` was given: a path as above, or an absolute URL whose host is the name of the
 * service (`http://lorem/word`). Normalises as URLs do (`/a/../b` is `/b`) and drops the fragment.
 */
export function fetchTarget(input: string | URL, service: string): string {
  const text = String(input);
  const host = service.toLowerCase();
  const relative = text.startsWith("/");
  if (relative) requestTarget(withoutFragment(text));
  if (!relative && !/^https?:\/\//i.test(text)) throw refused(input);
  let url: URL;
  try {
    url = new URL(text, PLACEHOLDER);
  } catch {
    throw refused(input);
  }
  if (relative ? url.origin !== PLACEHOLDER : url.host !== host) {
    throw relative ? refused(input) : new InvalidOptionError("url", `a path, or a URL of the host "${host}"`, text);
  }
  if (url.username !== "" || url.password !== "") {
    throw new InvalidOptionError("url", "a URL without credentials", `${url.protocol}//…@${url.host}`);
  }
  return requestTarget(url.pathname + url.search);
}

/** Only a base to parse paths against; `.invalid` is reserved, so it can be nobody's host (RFC 2606). */
const PLACEHOLDER = "http://service.invalid";
const SLASH = 47;
const BACKSLASH = 92;

function withoutFragment(text: string): string {
  const hash = text.indexOf("#");
  return hash === -1 ? text : text.slice(0, hash);
}

function queryString(query: Query): string {
  if (query instanceof URLSearchParams) return query.toString();
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of isList(value) ? value : [value]) {
      if (one === undefined || one === null) continue;
      if (typeof one === "object" || typeof one === "function" || typeof one === "symbol") {
        throw new InvalidOptionError(`query.${name}`, "a string, number or boolean, or an array of them", one);
      }
      parameters.append(name, String(one));
    }
  }
  return parameters.toString();
}

function isList(value: QueryValue | readonly QueryValue[]): value is readonly QueryValue[] {
  return Array.isArray(value);
}

function refused(path: unknown): InvalidOptionError {
  return new InvalidOptionError("path", "a path that starts with one slash, without host and fragment", path);
}

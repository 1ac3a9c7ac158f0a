/**
 * The path under which a request goes on to the instance: `prefix` + the path as the gateway sees it, query included,
 * unchanged but for one thing: leading slashes become a single one, because `//host/…` is an authority to whoever
 * resolves it as a URL.
 *
 * Undefined means "refuse it": an absolute URL or `*` where a path should be, a fragment, a backslash or a character
 * that no URL may hold, or a dot segment with which a path could leave the prefix, also a percent-encoded one, and one
 * with a parameter (`/..;x/`), which some servers cut off before they resolve the segment. No client that follows the
 * URL standard sends any of these.
 */
export function gatewayPath(url: string, prefix: string): string | undefined {
  // Express hands the handler of a mount point "/?query" or "/", and other routers may leave out the slash.
  const target = url === "" || url.startsWith("?") ? `/${url}` : url;
  if (!target.startsWith("/") || FORBIDDEN.test(target)) return undefined;
  const query = target.indexOf("?");
  if (DOT_SEGMENT.test(query === -1 ? target : target.slice(0, query))) return undefined;
  return prefix + (target.startsWith("//") ? target.replace(LEADING_SLASHES, "/") : target);
}

/**
 * What is left of an upgrade request's URL behind the path under which upgrades are taken: what Express leaves of one
 * that it hands to a mounted handler. Undefined for a path that is not below it.
 */
export function pathBelow(url: string, mount: string): string | undefined {
  if (!url.startsWith(mount)) return undefined;
  const rest = url.slice(mount.length);
  return mount === "" || rest === "" || rest.startsWith("/") || rest.startsWith("?") ? rest : undefined;
}

/** Not visible ASCII, or visible but never in a path or query: fragments are for clients only, `\` is a `/` to some. */
const FORBIDDEN = /[^\x21-\x7e]|[#\\]/;
const LEADING_SLASHES = /^\/+/;
const DOT_SEGMENT = /(?:\/|%2f|%5c)(?:\.|%2e){1,2}(?:\/|%2f|%5c|;|%3b|$)/i;

/**
 * The path under which a request goes on to the instance: `prefix` + the path as the gateway sees it, query included,
 * unchanged but for one thing: leading slashes become a single one, because `//host/…` is an authority to whoever
 * resolves it as a URL.
 *
 * Undefined means "refuse it": an absolute URL or `*` where a path should be, a fragment, a backslash or a character
 * that no URL may hold, or a dot segment, also a percent-encoded one, with which a path could leave the prefix. No
 * client that follows the URL standard sends any of these.
 */
export function gatewayPath(url: string, prefix: string): string | undefined {
  // Express hands the handler of a mount point "/?query" or "/", and other routers may leave out the slash.
  const target = url === "" || url.startsWith("?") ? `/${url}` : url;
  if (!target.startsWith("/") || FORBIDDEN.test(target)) return undefined;
  const [path = ""] = target.split("?", 1);
  if (hasDotSegment(path)) return undefined;
  return prefix + target.replace(/^\/+/, "/");
}

/** Not visible ASCII, or visible but never in a path or query: fragments are for clients only, `\` is a `/` to some. */
const FORBIDDEN = /[^\x21-\x7e]|[#\\]/;

function hasDotSegment(path: string): boolean {
  const decoded = path.replace(/%(2e|2f|5c)/gi, (encoded) => decodeURIComponent(encoded));
  return decoded.split(/[/\\]/).some((segment) => segment === "." || segment === "..");
}

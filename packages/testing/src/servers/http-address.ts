/**
 * An address as servers' own tools take it (`127.0.0.1:8500`, `http://consul.test`, …) as a URL without a trailing
 * slash. Throws an error that says what is wrong with it.
 */
export function httpAddress(value: string, scheme: "http" | "https" = "http"): string {
  const text = value.includes("://") ? value : `${scheme}://${value}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === "") {
    throw new Error(`it is "${value}", which is neither host:port nor an http:// or https:// URL`);
  }
  return url.href.replace(/\/$/, "");
}

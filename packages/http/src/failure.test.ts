import { ClosedError, NoEndpointsError, TimeoutError } from "@rollcall/core";
import { errors } from "undici";
import { describe, expect, it } from "vitest";
import { classify, isIdempotent, isOwnAbort } from "./failure.ts";
import { StatusError } from "./status-error.ts";

const coded = (code: string): Error => Object.assign(new Error(code), { code });

describe("classify", () => {
  // What connecting can end with: undici reports these before a request is begun.
  it.each([
    coded("ECONNREFUSED"),
    coded("ENOTFOUND"),
    coded("EAI_AGAIN"),
    coded("EHOSTUNREACH"),
    coded("ENETUNREACH"),
    coded("ETIMEDOUT"),
    coded("EADDRNOTAVAIL"),
    coded("EMFILE"),
    coded("ECONNRESET"),
    coded("ERR_SSL_WRONG_VERSION_NUMBER"),
    coded("ERR_TLS_CERT_ALTNAME_INVALID"),
    coded("DEPTH_ZERO_SELF_SIGNED_CERT"),
    coded("an error of next year's Node"),
    new AggregateError([coded("ECONNREFUSED"), coded("EHOSTUNREACH")]),
    new errors.ConnectTimeoutError(),
    new errors.ClientDestroyedError(),
    new errors.ClientClosedError(),
    new TimeoutError("attempt 1", 100),
  ])("takes %s for unsent if the request was not begun, for broken if it was", (error) => {
    expect(classify(error, false)).toBe("unsent");
    expect(classify(error, true)).toBe("broken");
  });

  it.each([
    new errors.SocketError("other side closed"),
    new errors.HeadersTimeoutError(),
    new errors.BodyTimeoutError(),
    new errors.HeadersOverflowError(),
    new errors.HTTPParserError("junk"),
    new errors.ResponseContentLengthMismatchError(),
    coded("EPIPE"),
    "a string",
    undefined,
    null,
  ])("takes %s of a request that was begun for broken", (error) => {
    expect(classify(error, true)).toBe("broken");
  });

  it.each([
    new errors.InvalidArgumentError("invalid header key"),
    new errors.NotSupportedError("expect"),
    new errors.RequestContentLengthMismatchError(),
  ])("takes %s for the caller's mistake, begun or not", (error) => {
    expect(classify(error, false)).toBe("invalid");
    expect(classify(error, true)).toBe("invalid");
  });

  it("takes for unsent what an HTTP/2 server that goes away says it has not taken", () => {
    const error = new errors.InformationalError('HTTP/2: "GOAWAY" frame received with code 0');
    expect(classify(error, true)).toBe("unsent");
  });

  it("takes a failing status for answered", () => {
    expect(classify(new StatusError("GET", "/", 503, {}, false), true)).toBe("answered");
  });

  it("takes an empty set for unsent, whatever the attempt before has done", () => {
    expect(classify(new NoEndpointsError("lorem", "live"), true)).toBe("unsent");
    expect(classify(new ClosedError("it"), true)).toBe("broken");
  });
});

describe("isIdempotent", () => {
  it.each(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"])("holds for %s", (method) => {
    expect(isIdempotent(method)).toBe(true);
  });
  it.each(["POST", "PATCH", "CONNECT", "PROPPATCH", "get", "", "__proto__"])("does not hold for %j", (method) => {
    expect(isIdempotent(method)).toBe(false);
  });
});

describe("isOwnAbort", () => {
  it("tells what this side did from what the other side did", () => {
    expect(isOwnAbort(new errors.RequestAbortedError())).toBe(true);
    expect(isOwnAbort(new errors.ClientDestroyedError())).toBe(true);
    expect(isOwnAbort(new errors.SocketError("other side closed"))).toBe(false);
    expect(isOwnAbort(new errors.BodyTimeoutError())).toBe(false);
  });
});

import { NoEndpointsError, TimeoutError } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { classifyBuiltIn, isBadPort } from "./built-in-failure.ts";
import { StatusError } from "./status-error.ts";

const coded = (code: string): Error => Object.assign(new Error(code), { code });
const failed = (cause?: unknown): TypeError => new TypeError("fetch failed", { cause });

describe("classifyBuiltIn", () => {
  it.each([
    "ECONNREFUSED",
    "ENOTFOUND",
    "EAI_AGAIN",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "UND_ERR_CONNECT_TIMEOUT",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "ERR_SSL_WRONG_VERSION_NUMBER",
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "CERT_HAS_EXPIRED",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  ])("takes %s for unsent: it comes before there is a connection", (code) => {
    expect(classifyBuiltIn(failed(coded(code)))).toBe("unsent");
    expect(classifyBuiltIn(failed(Object.assign(new AggregateError([]), { code })))).toBe("unsent");
  });

  it.each(["ECONNRESET", "ETIMEDOUT", "EPIPE", "UND_ERR_SOCKET", "UND_ERR_HEADERS_TIMEOUT", "next year's"])(
    "takes %s for broken: bytes may have left",
    (code) => expect(classifyBuiltIn(failed(coded(code)))).toBe("broken"),
  );

  it("knows what is not the network's", () => {
    expect(classifyBuiltIn(failed(coded("UND_ERR_INVALID_ARG")))).toBe("invalid");
    expect(classifyBuiltIn(failed(coded("UND_ERR_REQ_CONTENT_LENGTH_MISMATCH")))).toBe("invalid");
    expect(classifyBuiltIn(new StatusError("GET", "/", 503, {}, false))).toBe("answered");
    expect(classifyBuiltIn(new NoEndpointsError("lorem", "live"))).toBe("unsent");
    expect(classifyBuiltIn(new TimeoutError("attempt 1", 5))).toBe("broken");
    for (const other of [failed(), failed("text"), "text", undefined, null]) {
      expect(classifyBuiltIn(other)).toBe("broken");
    }
  });

  it("knows a blocked port from the process's own fetch", async () => {
    const error: unknown = await fetch("http://127.0.0.1:6000/").catch((caught: unknown) => caught);
    expect([isBadPort(error), isBadPort(failed(coded("ECONNREFUSED")))]).toEqual([true, false]);
  });
});

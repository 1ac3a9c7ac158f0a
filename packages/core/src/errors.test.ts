import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import {
  ClosedError,
  InvalidOptionError,
  NoEndpointsError,
  RetryError,
  TimeoutError,
  isDiscoveryError,
  messageOf,
} from "./errors.ts";

const cause = new Error("registry is down");

describe("the errors", () => {
  it.each<[string, string, Error]>([
    ["NoEndpointsError", "NO_ENDPOINTS", new NoEndpointsError("lorem", "stale", cause)],
    ["TimeoutError", "TIMEOUT", new TimeoutError("the call", 500, cause)],
    ["ClosedError", "CLOSED", new ClosedError("the client", cause)],
    ["InvalidOptionError", "INVALID_OPTION", new InvalidOptionError("port", "a port", 0, cause)],
    ["RetryError", "RETRY", new RetryError([new Error("first"), cause], "attempts")],
  ])("%s has its name, its code, its cause and a stack", (name, code, error) => {
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name, code, cause });
    expect(error.stack).toContain(error.message);
    expect(Object.prototype.toString.call(error)).toBe("[object Error]");
  });

  it("NoEndpointsError names the service, the state and the cause", () => {
    const error = new NoEndpointsError("lorem", "stale", cause);
    expect(error).toMatchObject({ service: "lorem", state: "stale" });
    expect(error.message).toBe('no endpoints for service "lorem" (stale: registry is down)');
    expect(new NoEndpointsError("lorem", "live").message).toBe('no endpoints for service "lorem" (live)');
    expect(new NoEndpointsError("lorem", "live").cause).toBeUndefined();
  });

  it("TimeoutError says what took longer than how many milliseconds", () => {
    const error = new TimeoutError("the call", 500.4);
    expect(error).toMatchObject({ timeoutMs: 500.4, message: "the call timed out after 500 ms" });
  });

  it("InvalidOptionError is a TypeError and says which option, what was expected and what was given", () => {
    const error = new InvalidOptionError("retry.timeoutMs", "a number", "soon");
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toMatchObject({ path: "retry.timeoutMs", expected: "a number", got: "soon" });
    expect(error.message).toBe('invalid option retry.timeoutMs: expected a number, got "soon"');
  });

  it.each<[unknown, string]>([
    ["soon", '"soon"'],
    ["x".repeat(60), `"${"x".repeat(60)}"`],
    ["x".repeat(61), `"${"x".repeat(60)}…"`],
    [() => 1, "a function"],
    [[1], "an array"],
    [{}, "an object"],
    [Object.create(null), "an object"],
    [null, "null"],
    [undefined, "undefined"],
    [Number.NaN, "NaN"],
    [-1, "-1"],
    [1n, "1"],
    [Symbol("s"), "Symbol(s)"],
  ])("InvalidOptionError describes what was given: case %#", (got, described) => {
    expect(new InvalidOptionError("port", "a port", got).message).toBe(
      `invalid option port: expected a port, got ${described}`,
    );
  });

  it("RetryError is an AggregateError: every attempt's error in order, the last one as its cause", () => {
    const errors = [new Error("first"), "second", cause];
    const error = new RetryError(errors, "deadline");
    expect(error).toBeInstanceOf(AggregateError);
    expect(error.errors).toEqual(errors);
    expect(error).toMatchObject({ reason: "deadline", cause });
    for (const part of ["deadline", "3", "first", "second", "registry is down"]) expect(error.message).toContain(part);
  });
});

describe("isDiscoveryError", () => {
  it("knows Rollcall's errors, with and without their code", () => {
    const error = new ClosedError("the client");
    expect(isDiscoveryError(error)).toBe(true);
    expect(isDiscoveryError(error, "CLOSED")).toBe(true);
    expect(isDiscoveryError(error, "TIMEOUT")).toBe(false);
  });

  it("knows those of another copy of the package, where instanceof fails", () => {
    const foreign: unknown = runInNewContext(
      `Object.assign(new Error("closed"), { code: "CLOSED", [Symbol.for("@rollcall/error")]: true })`,
    );
    expect(foreign instanceof Error).toBe(false);
    expect(isDiscoveryError(foreign, "CLOSED")).toBe(true);
  });

  it.each([
    [undefined],
    [null],
    ["CLOSED"],
    [7],
    [{}],
    [{ code: "CLOSED" }],
    [Object.assign(new Error("x"), { code: "CLOSED" })],
    [new DOMException("x", "TimeoutError")],
  ])("takes nothing else for one: %s", (error) => {
    expect(isDiscoveryError(error)).toBe(false);
    expect(isDiscoveryError(error, "CLOSED")).toBe(false);
  });
});

describe("messageOf", () => {
  it.each<[unknown, string]>([
    [cause, "registry is down"],
    ["text", "text"],
    [undefined, "undefined"],
    [null, "null"],
    [7, "7"],
    [Symbol("s"), "Symbol(s)"],
    [Object.create(null), "[object Object]"],
    [{ message: "an error of another realm" }, "an error of another realm"],
  ])("of whatever was thrown", (error, message) => {
    expect(messageOf(error)).toBe(message);
  });

  it("survives a thing that cannot even be printed", () => {
    const hostile = {
      toString() {
        throw cause;
      },
    };
    expect(messageOf(hostile)).toBe("[object Object]");
  });
});

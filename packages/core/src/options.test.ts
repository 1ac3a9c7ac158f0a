import { describe, expect, it } from "vitest";
import { InvalidOptionError } from "./errors.ts";
import { type Check, checkOptions, checkPair, checkThat, is, listOf, required } from "./options.ts";

/** What is wrong with the value, or undefined if nothing is. */
function problem(check: Check, value: unknown): InvalidOptionError | undefined {
  try {
    check(value, "x");
    return undefined;
  } catch (error) {
    if (error instanceof InvalidOptionError) return error;
    throw error;
  }
}

const fn = (): void => undefined;
const registry = { instancer: fn, registrar: fn, close: fn };
const policy = { name: "p", create: fn };
const budget = { deposit: fn, withdraw: fn };

describe("is", () => {
  it.each<[string, Check, readonly unknown[], readonly unknown[]]>([
    ["string", is.string, ["", "a"], [1, null, {}, undefined]],
    ["nonEmptyString", is.nonEmptyString, ["a", " a "], ["", " ", "\t\n", 1, null]],
    ["boolean", is.boolean, [true, false], [0, "true", null]],
    ["function", is.function, [fn, async () => undefined, Date], [{}, "fn", null]],
    ["object", is.object, [{}, Object.create(null), new Date()], [null, [], "a", 1, fn]],
    ["array", is.array, [[], [1]], [{ length: 0 }, "a", null]],
    ["strings", is.strings, [[], ["a", ""]], ["a", [1], ["a", undefined], Array<string>(2), new Set(["a"])]],
    ["durationMs", is.durationMs, [0, -0, 0.5, 1e12, Infinity], [-1, NaN, -Infinity, "1", 1n, null]],
    ["port", is.port, [1, 80, 65_535], [0, 65_536, 80.5, -1, NaN, Infinity, "80", null]],
    [
      "url",
      is.url,
      ["http://a", "https://a:1/b?c", "HTTP://a", new URL("http://a")],
      ["a", "//a", "ftp://a", "http:a", "http://", "http://a:99999", new URL("ftp://a"), null, 1],
    ],
    ["number from 1", is.number(1), [1, 1.5, Infinity], [0.9, NaN, -1, "1", null]],
    ["number from 1 to 2", is.number(1, 2), [1, 2], [0, 2.1, Infinity, NaN]],
    ["oneOf", is.oneOf("a", 1, false), ["a", 1, false], ["b", "1", true, undefined]],
    ["host", is.host, ["a", "10.0.0.1", "::1", "[::1]"], ["", "a:80", "[::1]:80", "http://a", "a/b", "me@a", "a b", 1]],
    [
      "pem",
      is.pem,
      [
        "-----BEGIN CERTIFICATE-----\nMII",
        "# mine\n-----BEGIN EC PRIVATE KEY-----",
        Buffer.from("x"),
        new Uint8Array(1),
      ],
      ["/etc/ssl/ca.pem", "", "MII", 1, null, {}, new ArrayBuffer(1), [Buffer.from("x")]],
    ],
    ["registry", is.registry, [registry], [{}, { ...registry, close: 1 }, [], fn, "memory", null]],
    ["instancer", is.instancer, [{ subscribe: fn }], [{}, registry, fn, null]],
    ["balancer", is.balancer, [{ pick: fn }], [{}, policy, fn, null]],
    ["policy", is.policy, [policy], [{}, fn, "roundRobin", null]],
    ["budget", is.budget, [budget, false], [{ deposit: fn }, true, 0, null]],
    ["env", is.env, [{}, { now: fn }, { now: fn, random: fn, after: fn }], [{ now: 1 }, { after: "x" }, [], null, fn]],
  ])("%s accepts what it should and nothing else", (_name, check, good, bad) => {
    expect(good.filter((value) => problem(check, value) !== undefined)).toEqual([]);
    expect(bad.filter((value) => problem(check, value) === undefined)).toEqual([]);
  });

  it("env accepts a class instance, whose methods are inherited", () => {
    class Clock {
      now(): number {
        return 1;
      }
    }
    expect(problem(is.env, new Clock())).toBeUndefined();
  });

  it("says what was expected and what was given, in words", () => {
    expect(problem(is.port, 0)).toMatchObject({
      code: "INVALID_OPTION",
      path: "x",
      expected: "an integer from 1 to 65535",
      got: 0,
      message: "invalid option x: expected an integer from 1 to 65535, got 0",
    });
    expect(problem(is.oneOf("a", "b"), "c")?.message).toBe('invalid option x: expected a | b, got "c"');
    expect(problem(is.registry, { ...registry, registrar: 1 })?.path).toBe("x.registrar");
    expect(problem(is.pem, "/etc/ssl/ca.pem")?.message).toBe(
      'invalid option x: expected a PEM text or a Buffer, not the name of a file, got "/etc/ssl/ca.pem"',
    );
    expect(problem(is.number(1), 0)?.expected).toBe("a number >= 1");
    expect(problem(is.number(1, 5), 0)?.expected).toBe("a number from 1 to 5");
  });

  it.each([[Symbol("s")], [1n], [Object.create(null)], [fn], [["a"]], ["x".repeat(1_000)]])(
    "can describe anything that was given, briefly",
    (got) => {
      expect(problem(is.port, got)?.message.length).toBeLessThan(140);
    },
  );
});

describe("checkOptions", () => {
  const checks = { service: required(is.nonEmptyString), port: is.port, tls: is.shape({ ca: is.string }) };

  it("accepts an object whose options are right, left out or undefined", () => {
    expect(() => checkOptions("", { service: "a" }, checks)).not.toThrow();
    expect(() => checkOptions("", { service: "a", port: undefined, tls: { ca: "x" } }, checks)).not.toThrow();
  });

  it.each<[string, string, unknown, string]>([
    ["a key it does not know", "", { service: "a", prot: 80 }, "prot"],
    ["an unknown key that is undefined", "", { service: "a", prot: undefined }, "prot"],
    ["an unknown key further down", "", { service: "a", tls: { cert: "x" } }, "tls.cert"],
    ["a key that only Object.prototype knows", "", { service: "a", toString: 1 }, "toString"],
    ["a wrong value", "", { service: "a", port: 0 }, "port"],
    ["a null value", "", { service: "a", port: null }, "port"],
    ["a wrong value further down", "", { service: "a", tls: { ca: 1 } }, "tls.ca"],
    ["a shape that is no object", "", { service: "a", tls: true }, "tls"],
    ["a required option that is missing", "", {}, "service"],
    ["a required option that is undefined", "", { service: undefined }, "service"],
    ["undefined", "", undefined, "options"],
    ["null", "retry", null, "retry"],
    ["an array", "retry", [], "retry"],
    ["a wrong value under a path", "retry", { service: 1 }, "retry.service"],
  ])("refuses %s, by its path", (_what, path, value, where) => {
    expect(problem(() => checkOptions(path, value, checks), undefined)?.path).toBe(where);
  });

  it("reads options from the prototype, too, and changes nothing", () => {
    const options = Object.freeze(Object.create({ service: "a", port: 80 }) as object);
    expect(() => checkOptions("", options, checks)).not.toThrow();
    expect(problem(() => checkOptions("", Object.create({ service: "a", port: 0 }), checks), 0)?.path).toBe("port");
  });

  it("does not require an option because it is required elsewhere", () => {
    required(is.string);
    expect(() => checkOptions("", {}, { name: is.string })).not.toThrow();
  });
});

describe("listOf", () => {
  const check = listOf("host", is.host);

  it("takes a list of what passes the inner check", () => {
    expect(problem(check, ["a"])).toBeUndefined();
  });

  it("names the entry that is wrong, also one that is missing", () => {
    expect(problem(check, ["a", "b c"])?.path).toBe("x.1");
    expect(problem(check, Array<string>(1))?.path).toBe("x.0");
  });

  it("refuses an empty list, and what is none", () => {
    expect(problem(check, [])).toMatchObject({ path: "x", expected: "at least one host" });
    expect(problem(check, "a")?.path).toBe("x");
  });
});

describe("checkPair", () => {
  it.each<[string, object, string | undefined]>([
    ["", {}, undefined],
    ["", { a: 1, b: 2 }, undefined],
    ["", { a: 1, b: undefined }, "b"],
    ["tls", { b: 0 }, "tls.a"],
  ])("names, below %j, what is missing in %j", (path, options, missing) => {
    const check: Check = () => checkPair(path, options, "a", "b");
    expect(problem(check, undefined)?.path).toBe(missing);
  });
});

describe("checkThat", () => {
  it("makes a check of a test, and of its words an error", () => {
    const check = checkThat("an even number", (value) => Number(value) % 2 === 0);
    expect(problem(check, 2)).toBeUndefined();
    expect(problem(check, 3)).toMatchObject({ path: "x", expected: "an even number", got: 3 });
  });
});

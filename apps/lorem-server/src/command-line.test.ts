import { describe, expect, it } from "vitest";
import { integer, oneOf, readSettings, type Setting, usage } from "./command-line.ts";

const settings = {
  port: { env: "PORT", default: "0", help: "where to listen" },
  host: { env: "HOST", help: "the address" },
} satisfies Record<string, Setting>;

const usageError = (message: string | RegExp): unknown =>
  expect.objectContaining({ name: "UsageError", message: expect.stringMatching(message) });

describe("readSettings", () => {
  it("prefers the option to the variable, and the variable to the default", () => {
    expect(readSettings(settings, ["--port", "1"], { PORT: "2" }).port).toBe("1");
    expect(readSettings(settings, ["--port=1"], {}).port).toBe("1");
    expect(readSettings(settings, [], { PORT: "2" }).port).toBe("2");
    expect(readSettings(settings, [], {})).toEqual({ port: "0", host: undefined, help: false });
  });

  it("takes an empty variable and an empty option for absent", () => {
    expect(readSettings(settings, ["--host="], { PORT: "", HOST: "" })).toMatchObject({ port: "0", host: undefined });
  });

  it("sees --help", () => {
    expect(readSettings(settings, ["--help"], {}).help).toBe(true);
  });

  it.each([
    [["--prot", "1"], /^Unknown option '--prot'$/],
    [["--port"], /^Option '--port <value>' argument missing$/],
    [["7000"], /^Unexpected argument '7000'/],
    [["--help=yes"], /^Option '--help' does not take an argument$/],
  ])("refuses %j in one line", (args, message) => {
    expect(() => readSettings(settings, args, {})).toThrowError(usageError(message));
  });
});

describe("usage", () => {
  it("names every option with its variable and its default", () => {
    expect(usage("app", "does things", settings).split("\n")).toEqual([
      "app: does things",
      "",
      "  --port             where to listen (PORT, default 0)",
      "  --host             the address (HOST)",
    ]);
  });
});

describe("integer", () => {
  it("takes the bounds themselves", () => {
    expect([integer("port", "0", 0, 65_535), integer("port", "65535", 0, 65_535)]).toEqual([0, 65_535]);
  });

  it.each(["65536", "-1", "1.5", "1e3", "0x10", " 1", "port", "9".repeat(400)])("refuses %s", (text) => {
    expect(() => integer("port", text, 0, 65_535)).toThrowError(
      usageError("--port must be a whole number from 0 to 65535"),
    );
  });
});

describe("oneOf", () => {
  it("takes one of its words and names them all otherwise", () => {
    expect(oneOf("framework", "nest", ["nest", "express"])).toBe("nest");
    expect(() => oneOf("framework", "koa", ["nest", "express"])).toThrowError(
      usageError('--framework must be nest or express, not "koa"'),
    );
  });
});

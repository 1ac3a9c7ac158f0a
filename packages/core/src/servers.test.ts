import { describe, expect, it } from "vitest";
import { InvalidOptionError } from "./errors.ts";
import { checkOptions } from "./options.ts";
import { type ServerDefaults, type ServerOptions, serverChecks, serversOf } from "./servers.ts";

const one: ServerDefaults = { protocols: { "zoo:": 2181 }, url: "127.0.0.1", relistMs: 30_000 };
const two: ServerDefaults = {
  protocols: { "http:": 80, "https:": 443 },
  url: "http://127.0.0.1:2379",
  relistMs: 45_000,
};

const resolve = (options: unknown, defaults: ServerDefaults) => {
  checkOptions("", options, serverChecks(defaults));
  return serversOf(options as ServerOptions, defaults);
};
const pathOf = (options: unknown, defaults: ServerDefaults): string => {
  try {
    resolve(options, defaults);
    return "none";
  } catch (error) {
    return error instanceof InvalidOptionError ? error.path : String(error);
  }
};

describe("the servers of a registry", () => {
  it("have defaults for everything", () => {
    const rest = { user: undefined, timeoutMs: 5_000 };
    const [a, b] = [resolve({}, one), resolve({ url: undefined, hosts: undefined }, two)];
    expect(a).toMatchObject({
      ...rest,
      hosts: [{ protocol: "zoo:", host: "127.0.0.1", port: 2181 }],
      relistMs: 30_000,
    });
    expect(b).toMatchObject({
      ...rest,
      hosts: [{ protocol: "http:", host: "127.0.0.1", port: 2379 }],
      relistMs: 45_000,
    });
  });

  it.each<[string | URL, ServerDefaults, string]>([
    ["a", one, "zoo: a 2181"],
    ["a:1", one, "zoo: a 1"],
    ["zoo://a", one, "zoo: a 2181"],
    ["zoo://[::1]:1/", one, "zoo: ::1 1"],
    ["[::1]:1", one, "zoo: ::1 1"],
    ["a:1", two, "http: a 1"],
    ["a:80", two, "http: a 80"],
    ["http://a", two, "http: a 80"],
    ["https://a:443", two, "https: a 443"],
    [new URL("https://a/"), two, "https: a 443"],
  ])("may be %s", (url, defaults, expected) => {
    const [host] = resolve({ url }, defaults).hosts;
    expect(`${host?.protocol} ${host?.host} ${host?.port}`).toBe(expected);
    expect(resolve({ hosts: [url, url] }, defaults).hosts).toEqual([host, host]);
  });

  it.each<[unknown, ServerDefaults]>([
    ["", one],
    ["", two],
    [2181, one],
    [null, one],
    ["a", two],
    ["http://a", one],
    ["ftp://a:1", two],
    ["a:0", one],
    ["http://a:0", two],
    ["a:65536", one],
    ["::1", one],
    ["a:1,b:1", one],
    ["a:1/path", one],
    ["http://a/?b", two],
    ["http://a/#b", two],
    ["http://u@a", two],
    ["http://:p@a", two],
    ["a b", one],
  ])("are not %s", (url, defaults) => {
    expect(pathOf({ url }, defaults)).toBe("url");
    expect(pathOf({ hosts: [defaults.url, url] }, defaults)).toBe("hosts.1");
  });

  it.each<[object, string]>([
    [{ url: "a", hosts: ["a"] }, "hosts"],
    [{ hosts: [] }, "hosts"],
    [{ hosts: "a" }, "hosts"],
    [{ username: "u" }, "password"],
    [{ password: "p" }, "username"],
    [{ username: "", password: "p" }, "username"],
    [{ timeoutMs: 0 }, "timeoutMs"],
    [{ relistMs: 999 }, "relistMs"],
    [{ env: 1 }, "env"],
  ])("are refused for %j", (options, path) => {
    expect(pathOf(options, one)).toBe(path);
  });

  it("have a user with a password", () => {
    expect(resolve({ username: "u", password: "p" }, one).user).toEqual({ name: "u", password: "p" });
  });
});

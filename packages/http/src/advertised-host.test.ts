import { describe, expect, it } from "vitest";
import { advertisedHost } from "./advertised-host.ts";

const lo = [
  { address: "127.0.0.1", family: "IPv4", internal: true },
  { address: "::1", family: "IPv6", internal: true },
];
const eth0 = [
  { address: "fe80::1", family: "IPv6", internal: false },
  { address: "2001:db8::5", family: "IPv6", internal: false },
  { address: "10.0.0.5", family: "IPv4", internal: false },
];
const linkLocal = [{ address: "169.254.3.4", family: "IPv4", internal: false }];

describe("advertisedHost", () => {
  it("prefers the option to everything", () => {
    const variables = { ADVERTISE_HOST: "from-env" };
    expect(advertisedHost({ host: "said", bound: "10.1.1.1", variables, interfaces: { eth0 } })).toBe("said");
  });

  it("prefers the environment to what the server is bound to", () => {
    const variables = { ADVERTISE_HOST: "from-env" };
    expect(advertisedHost({ bound: "10.1.1.1", variables, interfaces: { eth0 } })).toBe("from-env");
  });

  it("takes an empty variable for an unset one", () => {
    expect(advertisedHost({ bound: "10.1.1.1", variables: { ADVERTISE_HOST: "" } })).toBe("10.1.1.1");
  });

  it("takes the address the server is bound to, if it is one", () => {
    expect(advertisedHost({ bound: "127.0.0.1", variables: {}, interfaces: { eth0 } })).toBe("127.0.0.1");
    expect(advertisedHost({ bound: "2001:db8::7", variables: {}, interfaces: { eth0 } })).toBe("2001:db8::7");
  });

  it.each(["::", "0.0.0.0", "::ffff:0.0.0.0", "", undefined])(
    "takes the external IPv4 address when bound to %j",
    (bound) => {
      expect(advertisedHost({ bound, variables: {}, interfaces: { lo, linkLocal, eth0 } })).toBe("10.0.0.5");
    },
  );

  it("takes an external IPv6 address when there is no IPv4 one, but not a link-local one", () => {
    const six = { lo, eth0: eth0.filter((entry) => entry.family === "IPv6") };
    expect(advertisedHost({ bound: "::", variables: {}, interfaces: six })).toBe("2001:db8::5");
  });

  it("does not advertise IPv6 for a server that only listens on IPv4", () => {
    const six = { lo, eth0: eth0.filter((entry) => entry.family === "IPv6") };
    expect(advertisedHost({ bound: "0.0.0.0", variables: {}, interfaces: six })).toBe("127.0.0.1");
  });

  it("falls back to loopback where there is no network", () => {
    expect(advertisedHost({ bound: "::", variables: {}, interfaces: { lo } })).toBe("127.0.0.1");
  });

  it("finds something on this machine without being told anything", () => {
    expect(advertisedHost({ variables: {} })).toMatch(/^[\d.]+$|:/);
  });

  it.each(["http://x", "a b", "host:80", "user@host"])("refuses %j, and says where it came from", (host) => {
    expect(() => advertisedHost({ host })).toThrow(expect.objectContaining({ code: "INVALID_OPTION", path: "host" }));
    const variables = { ADVERTISE_HOST: host };
    expect(() => advertisedHost({ variables })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", path: "ADVERTISE_HOST", got: host }),
    );
  });

  it("takes the brackets off an IPv6 address", () => {
    expect(advertisedHost({ host: "[::1]" })).toBe("::1");
  });
});

import { describe, expect, it } from "vitest";
import { consulKind } from "./consul.ts";
import { etcdKind } from "./etcd.ts";
import { httpAddress } from "./http-address.ts";

describe("httpAddress", () => {
  it.each([
    ["127.0.0.1:8500", "http://127.0.0.1:8500"],
    ["consul.test:8500", "http://consul.test:8500"],
    ["localhost", "http://localhost"],
    ["[::1]:8500", "http://[::1]:8500"],
    ["https://consul.test/", "https://consul.test"],
    ["http://consul.test:8500/base/", "http://consul.test:8500/base"],
  ])("reads %s as %s", (value, url) => {
    expect(httpAddress(value)).toBe(url);
  });

  it.each(["", "unix:///run/consul.sock", "http://", "two words", "host:99999"])("refuses %j", (value) => {
    expect(() => httpAddress(value)).toThrow(`it is "${value}"`);
  });

  it("follows CONSUL_HTTP_SSL, and takes the first of several etcd endpoints", () => {
    expect(consulKind().address?.parse("consul.test:8501", { CONSUL_HTTP_SSL: "true" })).toBe(
      "https://consul.test:8501",
    );
    expect(etcdKind().address?.parse("http://a.test:2379,http://b.test:2379", {})).toBe("http://a.test:2379");
  });
});

export { type DnsName, type DnsRegistryOptions, dnsRegistry } from "./registry.ts";
export { DnsError } from "./dns-error.ts";

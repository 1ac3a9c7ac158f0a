import { closable } from "@rollcall/core";
import { dnsRegistry } from "@rollcall/dns";
import { freePort } from "@rollcall/testing";
import type { Backend } from "./backend.ts";
import { consul, startStore } from "./consul.ts";

const NO_RIGHTS = "no: a name server does not ask who asks";

/** Servers announce themselves to Consul, and the client reads its DNS. */
export const dns: Backend = {
  name: "dns",
  title: "Consul's DNS",
  ttlMs: consul.ttlMs,
  cannot: {
    ...consul.cannot,
    credentials: NO_RIGHTS,
    rights: NO_RIGHTS,
    emptied: "no: that there are none is never believed at once, as a name server without its zone says so too",
  },
  // Either half has a way of its own, and only one of them is used.
  open({ url, ttlMs }, env) {
    const servers = [new URL(url).host];
    const reader = dnsRegistry({ servers, name: "{service}.service.consul", transport: "tcp", env });
    const writer = consul.open({ url, ttlMs }, env);
    return {
      name: "dns",
      instancer: (query) => reader.instancer(query),
      registrar: (instance) => writer.registrar(instance),
      ...closable(async () => void (await Promise.all([reader.close(), writer.close()]))),
    };
  },
  async start({ guarded }) {
    const dnsPort = await freePort();
    const store = await startStore({ guarded, dnsPort });
    return { ...store, readAt: { host: store.server.host, port: dnsPort } };
  },
};

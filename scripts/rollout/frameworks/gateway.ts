import { announce, gateway } from "@rollcall/express";
import express from "express";
import { HOST, type Serve } from "./serve.ts";

/** Not one of the servers, but what stands in front of them. Announced as a service of its own. */
export const serve: Serve = async ({ registry, service, port, drainMs }) => {
  const proxy = gateway(service, { registry });
  const server = express().use(proxy).listen(port, HOST);
  await announce(server, { registry, service: `${service}-gateway`, drainMs, closeAfter: [proxy, registry] });
};

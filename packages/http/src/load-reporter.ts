import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { LoadReport } from "@rollcall/core";
import { EventLoopUse } from "./event-loop-use.ts";
import { LOAD_REPORT_HEADER, formatLoadReport } from "./load-report-header.ts";

/** Measures how loaded a server is, and has its answers say so. Nothing to close. */
export interface LoadReporter {
  /**
   * Counts a request until its answer has gone out whole or its connection is gone, and puts a report into the head of the
   * answer, as of the moment in which that is written. Bound, to be a listener: put it in front of all others.
   */
  readonly watch: (request: IncomingMessage, response: ServerResponse) => void;
  /** The requests in flight among those it was shown, and how busy the event loop of this process was lately. */
  report(): LoadReport;
}

/**
 * Makes a {@link LoadReporter} for a server of `node:http` or `node:https`. Its answers then carry the header
 * `endpoint-load-metrics` (ORCA's text form, as gRPC and Envoy know it), for policies like core's `prequal()`:
 * `TEXT application_utilization=0.42,named_metrics.in_flight=7`, without the request that is being answered. An answer
 * that has such a header already keeps its own. Whoever gets the answer can read it: it is for servers that are called by
 * one's own services; the gateway of `@rollcall/express` takes it out.
 *
 * ```ts
 * import { createServer } from "node:http";
 * import { loadReporter } from "@rollcall/http/server";
 *
 * const server = createServer((_, response) => response.end("hello"));
 * server.prependListener("request", loadReporter().watch);
 * ```
 */
export function loadReporter(): LoadReporter {
  const loop = new EventLoopUse();
  /** By connection: of several answers that wait for their turn on one, only the first is told when it breaks. */
  const bySocket = new WeakMap<Socket, Set<ServerResponse>>();
  let inFlight = 0;

  const openOn = (socket: Socket): Set<ServerResponse> => {
    let open = bySocket.get(socket);
    if (open === undefined) {
      const all = (open = new Set());
      bySocket.set(socket, all);
      socket.once("close", () => {
        inFlight -= all.size;
        all.clear();
      });
    }
    return open;
  };

  return {
    watch: (request, response) => {
      const open = openOn(request.socket);
      if (open.has(response) || request.socket.destroyed) return;
      open.add(response);
      inFlight++;
      response.once("close", () => {
        if (open.delete(response)) inFlight--;
      });
      beforeHead(response, () => {
        if (response.hasHeader(LOAD_REPORT_HEADER)) return;
        const others = inFlight - (open.has(response) ? 1 : 0);
        response.setHeader(LOAD_REPORT_HEADER, formatLoadReport({ inFlight: others, utilization: loop.utilization }));
      });
    },
    report: () => ({ inFlight, utilization: loop.utilization }),
  };
}

/** Calls `run` when the head is about to be written: Node does that by `writeHead` also where nobody has called it. */
function beforeHead(response: ServerResponse, run: () => void): void {
  const { writeHead } = response;
  const isOwn = Object.hasOwn(response, "writeHead");
  const hooked = (...given: unknown[]): ServerResponse => {
    // From here on as if nothing had been; somebody may have put himself in front meanwhile.
    if (response.writeHead === hooked) {
      if (isOwn) response.writeHead = writeHead;
      else Reflect.deleteProperty(response, "writeHead");
    }
    if (!response.headersSent) run();
    return Reflect.apply(writeHead, response, given) as ServerResponse;
  };
  response.writeHead = hooked;
}

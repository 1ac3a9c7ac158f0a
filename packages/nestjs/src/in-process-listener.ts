import { tracingChannel } from "node:diagnostics_channel";
import { Server } from "node:net";

/**
 * Watches for a TCP server of this process that listens on a given port. That somebody listens on it is not enough: a
 * script started beside the running application would take its place.
 */
export interface InProcessListener {
  /** Calls `onListening` once, as soon as there is such a server (there may be one already). */
  whenListening(onListening: (server: Server) => void): void;
  /** Ends the watch. */
  close(): void;
}

/** Starts to watch: it only knows of servers that began to listen after this. */
export function inProcessListener(port: number): InProcessListener {
  let found: Server | undefined;
  let onListening: ((server: Server) => void) | undefined;
  const onServer = (message: unknown): void => {
    const server: unknown = Reflect.get(Object(message), "server");
    const place = server instanceof Server ? server.address() : null;
    if (!(server instanceof Server) || place === null || typeof place === "string" || place.port !== port) return;
    found = server;
    close();
    onListening?.(server);
  };
  // Node tells of every server that has begun to listen.
  const channel = tracingChannel("net.server.listen").asyncEnd;
  const close = (): void => {
    channel.unsubscribe(onServer);
  };
  channel.subscribe(onServer);
  return {
    whenListening: (run) => {
      if (found === undefined) onListening = run;
      else run(found);
    },
    close,
  };
}

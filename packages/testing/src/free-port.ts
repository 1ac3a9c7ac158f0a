import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/** Below the ranges from which Linux (32768…), macOS and Windows (49152…) take ports by themselves. */
const [FIRST, LAST] = [15_000, 29_999];

/** The ports given out last: whoever asks for several listens on none before he has all. */
const given = new Set<number>();
const REMEMBERED = 1_000;

/**
 * Finds a TCP port that nobody listens on.
 *
 * `listen(0)` would do that too, but with a port from the system's own range: while a server that is killed and started
 * again on its port is down, the system may hand that port to any outgoing connection, and the restart fails, or a
 * client connects to itself. A port from below that range stays free, and is not soon given out again here. Another process
 * may still take it meanwhile, so whoever listens on it has to be ready to ask for another one.
 */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = randomInt(FIRST, LAST + 1);
    if (given.has(port) || !(await isFree(port, host)) || given.has(port)) continue;
    given.add(port);
    const [oldest] = given;
    if (given.size > REMEMBERED && oldest !== undefined) given.delete(oldest);
    return port;
  }
  throw new Error(`found no free TCP port from ${FIRST} to ${LAST} on ${host}`);
}

/** Whether one could listen on this port now. Rejects if the host is not one of this machine. */
export function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE" || error.code === "EACCES") resolve(false);
      else reject(error);
    });
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

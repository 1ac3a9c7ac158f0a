import { request } from "node:http";

const TIMEOUT_MS = 5_000;

/**
 * Asks a Docker engine on its socket whether it has an image at hand. Rejects if the engine cannot be asked: nobody
 * listens there any more, we may not, or it says something else than yes and no.
 */
export function socketHasImage(socketPath: string, image: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const path = `/images/${image}/json`;
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const outgoing = request({ socketPath, path, agent: false, signal }, (answer) => {
      answer.resume();
      if (answer.statusCode === 200 || answer.statusCode === 404) resolve(answer.statusCode === 200);
      else reject(new Error(`the Docker engine at ${socketPath} answered ${answer.statusCode} to ${path}`));
    });
    outgoing.on("error", (error) => {
      reject(new Error(`no Docker engine answers at ${socketPath}: ${error.message}`, { cause: error }));
    });
    outgoing.end();
  });
}

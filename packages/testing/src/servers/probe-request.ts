import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";

export interface ProbeRequest {
  readonly method?: string | undefined;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly signal: AbortSignal;
}

/**
 * One HTTP request on a connection of its own, closed afterwards: unlike `fetch` it leaves no socket behind for a test
 * that counts handles, and is not redirected by a global dispatcher. Resolves with the parsed JSON body (or undefined
 * if it is empty); rejects for any status but 2xx, with the beginning of the body.
 */
export async function probeRequest(url: string, options: ProbeRequest): Promise<unknown> {
  const text = await exchange(url, options);
  try {
    return text.trim() === "" ? undefined : JSON.parse(text);
  } catch (error) {
    throw new Error(`${url} answered no JSON: ${text.slice(0, 200)}`, { cause: error });
  }
}

function exchange(url: string, options: ProbeRequest): Promise<string> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith("https:") ? httpsRequest : httpRequest;
    const { method = "GET", headers = {}, signal } = options;
    const outgoing = send(url, { method, headers, signal, agent: false }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk: string) => (text += chunk));
      answer.on("error", reject);
      answer.on("end", () => {
        const status = answer.statusCode ?? 0;
        if (status < 200 || status > 299) {
          reject(new Error(`${method} ${url} answered ${status}: ${text.slice(0, 200)}`));
        } else resolve(text);
      });
    });
    outgoing.on("error", reject);
    outgoing.end(options.body === undefined ? undefined : JSON.stringify(options.body));
  });
}

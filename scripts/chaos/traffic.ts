import { subscribe } from "node:diagnostics_channel";
import type { ClientRequest } from "node:http";
import type { ClientHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { nowMs } from "./now-ms.ts";

/** How much a process asks of a registry, per second. */
export interface Rate {
  /** Over the whole time. */
  readonly mean: number;
  /** In the busiest second of it. */
  readonly peak: number;
}

/** Counts what this process sends to one port. */
export interface Traffic {
  between(fromMs: number, toMs: number): Rate;
}

/** More are not kept: a process may run for long. */
const MAX_TIMES = 20_000;

/**
 * Counts requests over HTTP/1 and streams over HTTP/2 when they are started, answered or not; and attempts to connect,
 * of which the ones for which no request was started count as well: a refused connection is a burden, too.
 */
export function countTraffic(port: number): Traffic {
  const requests: number[] = [];
  const connects: number[] = [];
  const note = (times: number[]): void => {
    if (times.push(nowMs()) > MAX_TIMES) times.splice(0, MAX_TIMES / 2);
  };
  subscribe("http.client.request.start", (message) => {
    const { request } = message as { readonly request: ClientRequest };
    if (String(request.getHeader("host")).endsWith(`:${port}`)) note(requests);
  });
  subscribe("http2.client.stream.start", (message) => {
    const { stream } = message as { readonly stream: ClientHttp2Stream };
    if (stream.session?.socket.remotePort === port) note(requests);
  });
  subscribe("net.client.socket", (message) => {
    const { socket } = message as { readonly socket: Socket };
    socket.on("connectionAttempt", (_address: string, attempted: number) => {
      if (attempted === port) note(connects);
    });
  });
  return {
    between(fromMs, toMs) {
      const [sent, dialled] = [requests, connects].map((times) => rate(times, fromMs, toMs));
      return {
        mean: Math.max(sent?.mean ?? 0, dialled?.mean ?? 0),
        peak: Math.max(sent?.peak ?? 0, dialled?.peak ?? 0),
      };
    },
  };
}

/** @param times in ascending order */
export function rate(times: readonly number[], fromMs: number, toMs: number): Rate {
  const within = times.filter((at) => at >= fromMs && at <= toMs);
  let peak = 0;
  for (let first = 0, last = 0; last < within.length; last++) {
    while ((within[last] ?? 0) - (within[first] ?? 0) >= 1_000) first++;
    peak = Math.max(peak, last - first + 1);
  }
  return { mean: (within.length * 1_000) / Math.max(1, toMs - fromMs), peak };
}

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Env } from "@rollcall/core";
import { type GatewayRefusal, bodyFollows } from "./gateway-request.ts";

/** Answers instead of an instance. An answer that has begun already is broken off. */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  refusal: GatewayRefusal,
  { service, env }: { readonly service: string; readonly env: Env },
): void {
  if (response.headersSent || response.destroyed) {
    cut(response);
    return;
  }
  const { statusCode, code, message, retryAfterSeconds } = refusal;
  const body = JSON.stringify({ error: code, message, service });
  response.statusCode = statusCode;
  response.setHeader("content-type", "application/json");
  response.setHeader("content-length", Buffer.byteLength(body));
  if (retryAfterSeconds !== undefined) response.setHeader("retry-after", retryAfterSeconds);
  if (request.complete || !bodyFollows(request)) {
    response.end(body);
    return;
  }
  response.setHeader("connection", "close");
  response.write(body);
  endLingering(request, response, env);
}

/**
 * Ends an answer that closes its connection, but not before the caller has sent all of its body, for at most
 * {@link LINGER_MS}: a connection that is closed with something unread in it is reset, and a reset may overtake the
 * answer (RFC 9112 §9.6). What comes is thrown away.
 */
export function endLingering(request: IncomingMessage, response: ServerResponse, env: Env): void {
  const end = (): void => {
    cancel();
    response.end();
  };
  const cancel = env.after(LINGER_MS, end);
  request.once("end", end).once("close", end).resume();
}

const LINGER_MS = 1_000;

/** Ends a connection so that nobody can take what came for all there is. */
export function cut(response: ServerResponse): void {
  if (response.socket === null) response.destroy();
  else breakOff(response.socket);
}

/** By a reset, as a mere end is how a body without a length ends well. TLS and Unix sockets know no reset. */
export function breakOff(socket: Duplex): void {
  const { encrypted, resetAndDestroy } = socket as Partial<TLSSocket>;
  if (encrypted !== true && resetAndDestroy !== undefined) {
    try {
      resetAndDestroy.call(socket);
      return;
    } catch {
      // Not a TCP socket.
    }
  }
  socket.destroy();
}

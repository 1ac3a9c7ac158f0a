import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Env } from "@rollcall/core";
import { type GatewayRefusal, bodyFollows } from "./gateway-request.ts";

/**
 * How long what a refused caller still sends is read and thrown away. A connection that is closed with something unread
 * in it is reset, and a reset may overtake the answer (RFC 9112 §9.6).
 */
const LINGER_MS = 1_000;

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
  const end = (): void => {
    cancel();
    response.end();
  };
  const cancel = env.after(LINGER_MS, end);
  request.once("end", end).once("close", end).resume();
}

/** Ends a connection so that nobody can take what came for all there is. */
export function cut(response: ServerResponse): void {
  if (response.socket === null) response.destroy();
  else breakOff(response.socket);
}

/** By a reset, as a mere end is how a body without a length ends well. TLS has its own way to tell, and no reset. */
export function breakOff(socket: Duplex): void {
  const { encrypted, resetAndDestroy } = socket as Partial<TLSSocket>;
  if (encrypted === true || resetAndDestroy === undefined) socket.destroy();
  else resetAndDestroy.call(socket);
}

import { type IncomingHttpHeaders, type IncomingMessage, ServerResponse, validateHeaderValue } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { ClosedError } from "@rollcall/core";
import type { RelayController } from "@rollcall/http";
import { responseHeaders } from "./forwarded-headers.ts";
import { type ExchangeParts, GatewayExchange } from "./gateway-exchange.ts";
import { breakOff } from "./gateway-refuse.ts";
import { bodyFollows } from "./gateway-request.ts";

/** The only protocol that connections are handed over for: `h2c` and others would leave the gateway blind. */
const PROTOCOL = "websocket";

/** A client has to wait for the answer before it says more (RFC 6455 §4.1); a little is kept all the same. */
const MAX_EARLY_BYTES = 65_536;

/** Whether this is a WebSocket handshake, so far as the gateway has to know (RFC 6455 §4.1). */
export function isHandshake(request: IncomingMessage): boolean {
  const { method, headers, httpVersion } = request;
  const isWebSocket = headers.upgrade?.trim().toLowerCase() === PROTOCOL;
  return isWebSocket && method === "GET" && httpVersion === "1.1" && !bodyFollows(request);
}

/**
 * Whether an earlier request on the same connection is still being answered. Who sends a handshake behind one without
 * waiting cannot be answered: the connection is the earlier answer's.
 */
export function isBusy({ socket }: IncomingMessage): boolean {
  // Where Node itself looks before it gives a socket to a response.
  const message: unknown = Reflect.get(socket, "_httpMessage");
  return message !== undefined && message !== null;
}

/**
 * An exchange that may end in a connection of its own: after the instance's `101` bytes go both ways, at the pace of the
 * slower side, until one side ends. An end is passed on as an end and a reset as a reset. Any other answer is passed on
 * as that of a usual request, and then the caller's connection ends.
 *
 * `open` holds the handshake, and then the connection, as what ends it.
 */
export class GatewayUpgrade extends GatewayExchange {
  readonly #socket: Socket;
  readonly #open: Set<() => void>;
  readonly #early: Buffer[];
  #earlyBytes: number;

  constructor(parts: ExchangeParts, request: IncomingMessage, head: Buffer, open: Set<() => void>) {
    const { socket } = request;
    // Node has taken its own listeners away: without one an error would be an uncaught exception of the process.
    socket.on("error", ignore);
    super(parts, request, responseOn(request, socket));
    this.#socket = socket;
    this.#open = open;
    this.#early = [head];
    this.#earlyBytes = head.length;
    open.add(this.#abandon);
    socket.once("close", () => open.delete(this.#abandon));
    // Read on, as nobody is told of the end of what nobody reads.
    socket.on("data", this.#keepEarly).once("end", this.#leave);
  }

  override onResponseStart(_: unknown, statusCode: number, headers: IncomingHttpHeaders): void {
    if (statusCode >= 200) super.onResponseStart(_, statusCode, headers);
  }

  onRequestUpgrade(_: RelayController, __: number, headers: IncomingHttpHeaders, instance: Duplex): void {
    const socket = this.#socket;
    instance.on("error", ignore);
    const answer = switching(headers);
    if (answer === undefined || socket.destroyed || this.response.writableEnded) {
      instance.destroy();
      this.fail(new Error("the instance did not switch to the protocol that it was asked for"));
      return;
    }
    this.end();
    this.response.detachSocket(socket);
    socket.off("data", this.#keepEarly).off("end", this.#leave);
    // What server.timeout said was meant for requests. Who vanishes without a word is found out by the system.
    socket.setTimeout(0).setKeepAlive(true, KEEP_ALIVE_MS);
    socket.write(answer, "latin1");
    for (const early of this.#early) if (early.length > 0) instance.write(early);
    const close = (): void => {
      socket.destroySoon();
      instance.destroy();
    };
    this.#open.delete(this.#abandon);
    this.#open.add(close);
    instance.once("close", () => this.#open.delete(close));
    join(socket, instance);
    join(instance, socket);
  }

  readonly #keepEarly = (chunk: Buffer): void => {
    this.#early.push(chunk);
    this.#earlyBytes += chunk.length;
    if (this.#earlyBytes > MAX_EARLY_BYTES) this.#socket.destroy();
  };

  readonly #abandon = (): void => this.giveUp(new ClosedError("the gateway"));

  readonly #leave = (): void => void this.#socket.destroy();
}

const KEEP_ALIVE_MS = 60_000;

/** A response on a connection that is no longer the server's. It ends the connection with itself. */
function responseOn(request: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  const onDrain = (): void => void response.emit("drain");
  socket.on("drain", onDrain);
  response.once("finish", () => {
    socket.off("drain", onDrain);
    socket.destroySoon();
  });
  return response;
}

/** The head of the answer that hands the connection over. Undefined if it cannot be passed on. */
function switching(headers: IncomingHttpHeaders): string | undefined {
  if (headers.upgrade?.toLowerCase() !== PROTOCOL) return undefined;
  let head = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${PROTOCOL}\r\n`;
  const flat = responseHeaders(headers, false);
  try {
    for (let index = 0; index < flat.length; index += 2) {
      const name = String(flat[index]);
      // A 101 has no body, whatever it says (RFC 9110 §8.6).
      if (name === "content-length") continue;
      for (const value of [flat[index + 1] ?? ""].flat()) {
        validateHeaderValue(name, value);
        head += `${name}: ${value}\r\n`;
      }
    }
  } catch {
    return undefined;
  }
  return `${head}\r\n`;
}

/** Passes on what comes, its end, and, where it did not end but broke off, just that. */
function join(from: Duplex, to: Duplex): void {
  from.pipe(to);
  from.once("close", () => {
    if (to.destroyed) return;
    if (from.readableEnded && from.errored === null) to.end(() => to.destroy());
    else breakOff(to);
  });
}

function ignore(): void {}

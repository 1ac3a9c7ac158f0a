import { type IncomingHttpHeaders, type IncomingMessage, ServerResponse } from "node:http";
import { type Env, TimeoutError } from "@rollcall/core";
import { type DispatchRequest, type HttpClient, type RelayController, failureAnswer } from "@rollcall/http";
import { answerTrailers, responseHeaders } from "./forwarded-headers.ts";
import { cut, endLingering, refuse } from "./gateway-refuse.ts";
import { type GatewayRefusal, TOO_LARGE, TOO_SLOW } from "./gateway-request.ts";
import { BodyTooLargeError, GatewayUpload, UploadStalledError } from "./gateway-upload.ts";

/** The handler of a dispatched request, as undici wants it. */
type Handler = Parameters<HttpClient["dispatch"]>[1];

/** What all exchanges of one gateway share. */
export interface ExchangeParts {
  readonly service: string;
  readonly client: Pick<HttpClient, "dispatch" | "timeoutMs">;
  readonly env: Env;
  /** How long a caller may take nothing of an answer that waits for it. */
  readonly stallTimeoutMs: number;
  readonly report: (error: unknown, request: IncomingMessage) => void;
}

/** What is known of a request's body before it has come. */
export interface UploadShape {
  readonly maxBytes: number;
  /** Undefined for chunks. */
  readonly length: number | undefined;
}

/** A request's body of at most so many bytes is read before an instance is asked: it costs that one less of its time. */
const SMALL_BYTES = 65_536;

/** An answer's body of at most so many bytes goes out in one piece with its head: a string, as Node joins only those. */
const SMALL_ANSWER_BYTES = 4_096;

/** So much of an answer is never held back: a caller that is a little slow frees the instance all the same. */
const FREE_BYTES = 262_144;

/**
 * One request on its way to an instance and the answer on its way back, which is written as it comes: at the pace at
 * which the caller takes it, and so that half an answer never looks like a whole one.
 */
export class GatewayExchange implements Handler {
  protected readonly request: IncomingMessage;
  protected readonly response: ServerResponse;
  protected readonly parts: ExchangeParts;
  #controller: RelayController | undefined;
  #upload: GatewayUpload | undefined;
  #ended = false;
  /** Of the answer's body, where it says so. */
  #length = -1;
  #passed = 0;
  #whole: Buffer | undefined;
  #waits = false;
  #cancelStall: (() => void) | undefined;

  constructor(parts: ExchangeParts, request: IncomingMessage, response: ServerResponse) {
    this.parts = parts;
    this.request = request;
    this.response = response;
    response.once("close", () => this.#callerClosed());
  }

  /** Sends the request. With an `upload` its time counts from the last byte that came, else from now. */
  run(request: DispatchRequest, upload?: UploadShape): void {
    const { client, env } = this.parts;
    // While middleware worked in front: nobody would tell of it any more.
    if (isGone(this.request, this.response)) return;
    if (upload === undefined) {
      client.dispatch(request, this);
      return;
    }
    const timeoutMs = request.timeoutMs ?? client.timeoutMs;
    const { maxBytes, length } = upload;
    const body = new GatewayUpload(this.request, { env, timeoutMs, maxBytes }, (callerIsSlow) => {
      if (callerIsSlow) this.giveUp(new UploadStalledError(timeoutMs));
      else this.#controller?.expire(new TimeoutError("the upload", timeoutMs));
    });
    this.#upload = body;
    if (length === undefined || length > SMALL_BYTES) {
      // The caller's pace is not the instance's: how long that takes is counted from the last byte, by the upload.
      client.dispatch({ ...request, body, timeoutMs: Infinity, attemptTimeoutMs: Infinity }, this);
      return;
    }
    body.whole().then(
      (whole) => {
        body.answered();
        if (!this.#ended) client.dispatch({ ...request, body: whole }, this);
      },
      (error: unknown) => this.fail(error),
    );
  }

  /** Cuts off a caller who takes nothing. One who takes a little all the time is slow, and welcome. */
  #watchStall(): void {
    const { env, stallTimeoutMs } = this.parts;
    const taken = takenFrom(this.response);
    this.#cancelStall = env.after(stallTimeoutMs, () => {
      if (takenFrom(this.response) === taken) cut(this.response);
      else this.#watchStall();
    });
  }

  /** Nothing more is waited for, and it was no instance's fault. */
  protected giveUp(error: Error): void {
    if (this.#controller === undefined) this.fail(error);
    else this.#controller.abort(error);
  }

  onRequestStart(controller: RelayController): void {
    this.#controller = controller;
  }

  onResponseStart(_: unknown, statusCode: number, headers: IncomingHttpHeaders): void {
    const { request, response } = this;
    if (statusCode < 200) {
      if (statusCode === 103) this.#passHints(headers);
      return;
    }
    this.#upload?.answered();
    const encoding = headers["transfer-encoding"];
    if (encoding !== undefined && encoding.toLowerCase() !== "chunked") {
      // Passed on, the caller would take what is still encoded for the body itself.
      throw new Error("the instance's answer is encoded for transfer in a way that is not undone here");
    }
    this.#length = Number(headers["content-length"] ?? -1);
    // Node does not write `Trailer` where there is no body to put any behind.
    const hasBody = request.method !== "HEAD" && !NO_BODY.has(statusCode);
    const mayHaveTrailers = hasBody && request.httpVersion === "1.1";
    try {
      writeHead(response, statusCode, responseHeaders(headers, mayHaveTrailers) as string[]);
    } catch (error) {
      // Node has taken half of it, maybe that there is no body: no other answer can follow on this connection.
      for (const name of response.getHeaderNames()) if (!response.headersSent) response.removeHeader(name);
      this.end();
      cut(response);
      this.parts.report(error, request);
      throw error;
    }
    // With the body, where that comes at once; but an instance may say yes long before it says anything else.
    setImmediate(() => {
      if (!this.#ended && this.#passed === 0 && this.#whole === undefined) response.flushHeaders();
    });
  }

  onResponseData(controller: RelayController, chunk: Buffer): void {
    const { request, response } = this;
    if (isGone(request, response)) {
      controller.abort(CALLER_LEFT);
      return;
    }
    if (chunk.length === this.#length && chunk.length <= SMALL_ANSWER_BYTES) {
      this.#whole = chunk;
      return;
    }
    this.#passed += chunk.length;
    if (response.write(chunk) || this.#passed <= FREE_BYTES || response.destroyed) return;
    controller.pause();
    if (this.#waits) return;
    this.#waits = true;
    this.#watchStall();
    response.once("drain", () => {
      this.#waits = false;
      this.#cancelStall?.();
      controller.resume();
    });
  }

  onResponseEnd(_: unknown, trailers: IncomingHttpHeaders): void {
    this.end();
    const { request, response } = this;
    const kept = answerTrailers(trailers);
    if (kept !== undefined) {
      try {
        response.addTrailers(kept);
      } catch {
        // One that Node will not send: the answer itself is whole.
      }
    }
    if (this.#upload === undefined || request.complete || response.shouldKeepAlive) {
      if (this.#whole === undefined) response.end();
      else response.end(this.#whole.toString("latin1"), "latin1");
      return;
    }
    if (this.#whole !== undefined) response.write(this.#whole);
    void this.#upload.return();
    endLingering(request, response, this.parts.env);
  }

  onResponseError(_: unknown, error: Error): void {
    this.fail(error);
  }

  /** Tells the caller that it failed: by an answer, or, if one has begun, by breaking it off. */
  protected fail(error: unknown): void {
    this.end();
    const { request, response, parts } = this;
    // Nobody is left to be told, and nobody on this side has failed.
    if (isGone(request, response) || response.writableEnded || (request.destroyed && !request.complete)) return;
    const refusal = refusalOf(error) ?? failureAnswer(error, parts.service);
    const isOurs = refusal.statusCode >= 500 || response.headersSent;
    this.refuse(refusal);
    if (isOurs) parts.report(error, request);
  }

  /** Answers instead of an instance. */
  refuse(refusal: GatewayRefusal): void {
    this.end();
    refuse(this.request, this.response, refusal, this.parts);
  }

  /** There is nothing left that the caller's leaving would end. */
  protected end(): void {
    this.#ended = true;
    this.#upload?.answered();
  }

  #callerClosed(): void {
    this.#cancelStall?.();
    if (this.#ended) return;
    this.#upload?.answered();
    this.#controller?.abort(CALLER_LEFT);
  }

  /** Hints are no part of the answer: one that cannot be passed on is left out. */
  #passHints(headers: IncomingHttpHeaders): void {
    const { request, response } = this;
    const { link } = headers;
    if (request.httpVersion !== "1.1" || link === undefined) return;
    try {
      response.writeEarlyHints({ link });
    } catch {
      // Node wants links to be written in one certain way.
    }
  }
}

/** Answers that have no body, whatever they say. */
const NO_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/**
 * Changes whenever the caller has taken something: what was handed to the system, and how much of that still waits there.
 * Node's own time-out of sockets looks at the same, for which there is no public name.
 */
function takenFrom({ socket }: ServerResponse): string {
  const waits: unknown = Reflect.get(Object(Reflect.get(Object(socket), "_handle")), "writeQueueSize");
  return `${(socket?.bytesWritten ?? 0) - (socket?.writableLength ?? 0)} ${String(waits)}`;
}

/** Not an error of anybody's. */
const CALLER_LEFT = new Error("the caller left");

/** Whether nobody is there to be answered. A response that waits for its turn on a connection hears nothing of its end. */
function isGone(request: IncomingMessage, response: ServerResponse): boolean {
  return response.destroyed || response.closed || request.socket.destroyed;
}

/** Middleware that puts itself in front of `writeHead` (compression, sessions) does not always know flat lists. */
function writeHead(response: ServerResponse, statusCode: number, headers: string[]): void {
  if (response.writeHead === ServerResponse.prototype.writeHead) {
    response.writeHead(statusCode, headers);
    return;
  }
  for (let index = 0; index < headers.length; index += 2) {
    response.setHeader(headers[index] ?? "", headers[index + 1] ?? "");
  }
  response.writeHead(statusCode);
}

/** Those errors that are the caller's own. */
function refusalOf(error: unknown): GatewayRefusal | undefined {
  if (error instanceof BodyTooLargeError) return TOO_LARGE;
  if (error instanceof UploadStalledError) return TOO_SLOW;
  return undefined;
}

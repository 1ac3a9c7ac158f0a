import { Body, Controller, Get, Header, Post, Res } from "@nestjs/common";
import { address } from "@rollcall/core";
import type { HttpClient } from "@rollcall/http";
import { BadRequest, INSTANCE_HEADER, parseLoremRequest, SERVICE } from "@rollcall/lorem-server";
import { InjectClient } from "@rollcall/nestjs";
import type { Response } from "express";

/** One instance, as this client sees it at the moment. */
export interface SeenInstance {
  readonly id: string;
  readonly address: string;
  readonly inFlight: number;
  readonly successes: number;
  readonly failures: number;
}

/** Lorem ipsum for everybody who cannot find the servers themselves. */
@Controller()
export class SdLoremController {
  readonly #lorem: HttpClient;

  constructor(@InjectClient(SERVICE) lorem: HttpClient) {
    this.#lorem = lorem;
  }

  /**
   * `{"requestType":"word","min":3,"max":10}` → the answer of one of the servers, whichever it is, with the header that
   * names it. 400 for a request that no server could answer; 503 or 504 when none did.
   */
  @Post("/sd-lorem")
  async ask(@Body() body: unknown, @Res() response: Response): Promise<void> {
    const asked = readBody(body);
    const answer = await this.#lorem.request(`/lorem/${asked.type}/${asked.min}/${asked.max}`, {
      method: "POST",
      // The servers only make a text and keep nothing, so a request that may have arrived can be sent again.
      idempotent: true,
      signal: untilGone(response),
    });
    const text = await answer.body.text();
    const { [INSTANCE_HEADER]: instance, "content-type": type = "application/json" } = answer.headers;
    if (instance !== undefined) response.setHeader(INSTANCE_HEADER, instance);
    response.status(answer.statusCode).setHeader("content-type", type).send(text);
  }

  /** What this client knows: every instance that it would call now. */
  @Get("/sd-lorem/instances")
  @Header("cache-control", "no-store")
  instances(): { readonly service: string; readonly instances: readonly SeenInstance[] } {
    const instances = this.#lorem.endpoints.map(({ instance, stats }) => {
      const { inFlight, successes, failures } = stats;
      return { id: instance.id, address: address(instance), inFlight, successes, failures };
    });
    return { service: SERVICE, instances };
  }
}

/** The body's three fields, checked by the servers' own rules: what they would refuse is not sent at all. */
function readBody(body: unknown): ReturnType<typeof parseLoremRequest> {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new BadRequest('the body must be a JSON object like {"requestType":"word","min":3,"max":10}');
  }
  const { requestType, min, max } = body as Readonly<Record<string, unknown>>;
  return parseLoremRequest(requestType, min, max);
}

/** Aborts when nobody waits for the answer any more: the call to the server is then given up too. */
function untilGone(response: Response): AbortSignal {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  return gone.signal;
}

import { ClosedError, NoEndpointsError, RetryError, TimeoutError } from "@rollcall/core";
import { BadRequest } from "@rollcall/lorem-server";
import { describe, expect, it } from "vitest";
import { callerAnswer } from "./caller-answer.ts";

const refused = Object.assign(new Error("connect ECONNREFUSED 10.0.0.7:80"), { code: "ECONNREFUSED" });
const none = new NoEndpointsError("lorem", "live");
const late = new TimeoutError("the call", 2_000);

describe("callerAnswer", () => {
  it.each([
    ["nothing to pick from", new RetryError([none, none], "attempts"), 503, 'no instance of "lorem" is available'],
    [
      "a registry that never answered",
      new RetryError([new TimeoutError("the call", 2_000, none)], "deadline"),
      503,
      'no instance of "lorem" is available',
    ],
    [
      "servers that refuse",
      new RetryError([refused, refused], "attempts"),
      503,
      '"lorem" could not be reached, or broke off',
    ],
    ["servers that are too slow", new RetryError([refused, late], "deadline"), 504, '"lorem" did not answer in time'],
    ["a client that shuts down", new ClosedError("the client"), 503, 'no instance of "lorem" is available'],
    ["a caller's mistake", new BadRequest("min must not be above max"), 400, "min must not be above max"],
    ["a mistake of ours, without its message", new Error("connect to 10.0.0.7"), 500, "internal error"],
    ["something that is no error", "text", 500, "internal error"],
  ])("answers %s", (_, error, status, message) => {
    expect(callerAnswer(error)).toEqual({ status, body: { error: message } });
  });
});

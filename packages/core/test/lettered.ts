import type { InstanceInit } from "@rollcall/core";
import { LiveEndpoint } from "../src/endpoint.ts";
import type { NonEmpty } from "../src/policy.ts";
import { lorem } from "./lorem.ts";

export type Lettered = LiveEndpoint<string>;

/** One endpoint for each letter, whose client is the letter, with the given weights or whatever else. */
export function lettered(letters: Readonly<Record<string, number | Partial<InstanceInit>>>): NonEmpty<Lettered> {
  const [first, ...rest] = Object.entries(letters).map(([letter, more], index) => {
    const init = typeof more === "number" ? { weight: more } : more;
    return new LiveEndpoint(lorem(index + 1, { id: letter, ...init }), letter);
  });
  if (first === undefined) throw new Error("an empty set");
  return [first, ...rest];
}

/** `count` endpoints with the numbers from 0 as clients; hosts that look like real ones. */
export function numbered(count: number, more: (index: number) => Partial<InstanceInit> = () => ({})) {
  const made = Array.from({ length: count }, (_, index) => {
    const host = `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
    return new LiveEndpoint(lorem(1, { id: `n${index}`, host, ...more(index) }), index);
  });
  return made as unknown as NonEmpty<LiveEndpoint<number>>;
}

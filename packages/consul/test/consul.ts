import { type Instancer, type Snapshot } from "@rollcall/core";
import { afterAll, expect } from "vitest";

/** Waits for something to become true; fails with what it was waiting for. Resolves with how long it took. */
export async function until(what: string | (() => string), isTrue: () => unknown, withinMs = 5_000): Promise<number> {
  const startMs = performance.now();
  while (!(await isTrue())) {
    if (performance.now() - startMs > withinMs) {
      expect.unreachable(`waited ${withinMs} ms in vain until ${typeof what === "string" ? what : what()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return performance.now() - startMs;
}

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Listens to an instancer, and keeps everything that it ever said. */
export function follow(instancer: Instancer) {
  const history: Snapshot[] = [];
  instancer.subscribe(() => history.push(instancer.snapshot));
  return {
    history,
    get snapshot() {
      return instancer.snapshot;
    },
    get ids() {
      return instancer.snapshot.instances.map(({ id }) => id);
    },
    shows: (ids: readonly string[], withinMs?: number) =>
      until(
        () => `it shows ${ids.join(", ") || "nothing"}, but it is ${describe(instancer.snapshot)}`,
        () =>
          instancer.snapshot.state === "live" &&
          String(instancer.snapshot.instances.map(({ id }) => id)) === String(ids),
        withinMs,
      ),
  };
}

const describe = ({ state, instances }: Snapshot) =>
  `${state} with ${instances.map(({ id }) => id).join(", ") || "none"}`;

let services = 0;
/** A name that no other test uses. */
export const newService = (): string => `lorem-${process.pid}-${++services}`;

/** Asks Consul itself, without anything of ours. */
export async function ask<T>(url: string, path: string, init?: RequestInit): Promise<T> {
  const response = await fetch(`${url}/v1${path}`, init);
  expect(response.ok, `${path}: ${response.status}`).toBe(true);
  return (await response.json().catch(() => undefined)) as T;
}

/** Ends what a test file has started, whatever happened in it. */
export function closeAfterwards(close: () => Promise<unknown> | undefined): void {
  afterAll(async () => void (await close()));
}

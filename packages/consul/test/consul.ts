import { expect } from "vitest";

/** Asks Consul itself, without anything of ours. */
export async function ask<T>(url: string, path: string, init?: RequestInit): Promise<T> {
  const response = await fetch(`${url}/v1${path}`, init);
  expect(response.ok, `${path}: ${response.status}`).toBe(true);
  return (await response.json().catch(() => undefined)) as T;
}

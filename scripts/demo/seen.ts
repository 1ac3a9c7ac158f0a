import { SERVICE } from "@rollcall/lorem-server";
import { until } from "./until.ts";

/** What the client knows of one instance. */
export interface Seen {
  /** As the server at this address calls itself; the registry may have an id of its own for it. */
  readonly id: string;
  readonly failures: number;
}

/** What the client says when it is asked. */
export async function seenBy(clientUrl: string): Promise<readonly Seen[]> {
  const response = await fetch(`${clientUrl}/sd-lorem/instances`);
  const { instances } = (await response.json()) as {
    readonly instances: readonly { readonly address: string; readonly failures: number }[];
  };
  return instances.map(({ address, failures }) => ({
    id: `${SERVICE}-${address.replace(/:(\d+)$/, "-$1")}`,
    failures,
  }));
}

/** Waits until the client sees exactly these servers. */
export async function untilSeen(clientUrl: string, wanted: readonly string[], timeoutMs = 10_000): Promise<void> {
  await until(`the client sees ${wanted.join(", ")}`, timeoutMs, async () => {
    const ids = (await seenBy(clientUrl)).map(({ id }) => id);
    if (!sameIds(ids, wanted)) throw new Error(`it sees ${ids.join(", ") || "nothing"}`);
    return true;
  });
}

/** Whether these are the same, in any order. */
export function sameIds(ids: readonly string[], wanted: readonly string[]): boolean {
  return ids.length === wanted.length && wanted.every((id) => ids.includes(id));
}

import { type Instancer, messageOf, type Snapshot } from "@rollcall/core";

/** A client that listens to one instancer and keeps a record of everything it was told. */
export interface Follower {
  readonly instancer: Instancer;
  /** What the snapshot was after each notification, in order. It never held what nobody was told of. */
  readonly told: readonly Snapshot[];
  /**
   * The present snapshot as soon as it passes, which may be now. Rejects if it does not within `withinMs`; the message
   * says what was waited for and what there was instead.
   */
  until(what: string, withinMs: number, passes: (snapshot: Snapshot) => boolean): Promise<Snapshot>;
  /**
   * What the first notification of a state other than `pending` brought. A watch that others had begun already has its
   * answer and may stay silent: then what it knows after `withinMs`, if it knows anything.
   */
  firstAnswer(withinMs: number): Promise<Snapshot>;
}

/** Subscribes to the instancer. Ends when the instancer is closed. */
export function follow(instancer: Instancer): Follower {
  const told: Snapshot[] = [];
  const waiting = new Set<() => void>();
  instancer.subscribe(() => {
    told.push(instancer.snapshot);
    for (const look of waiting) look();
  });

  /** Looks now and after each notification, until there is a result. */
  const find = (what: string, withinMs: number, look: () => Snapshot | undefined): Promise<Snapshot> => {
    const found = look();
    if (found !== undefined) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        waiting.delete(again);
      };
      const again = (): void => {
        const later = look();
        if (later === undefined) return;
        end();
        resolve(later);
      };
      const timer = setTimeout(() => {
        end();
        reject(new Error(`${what}: not within ${withinMs} ms; last known: ${describeSnapshot(instancer.snapshot)}`));
      }, withinMs);
      waiting.add(again);
    });
  };

  return {
    instancer,
    told,
    until: (what, withinMs, passes) =>
      find(what, withinMs, () => (passes(instancer.snapshot) ? instancer.snapshot : undefined)),
    firstAnswer: (withinMs) =>
      find("a first answer", withinMs, () => told.find((snapshot) => snapshot.state !== "pending")).catch((error) => {
        if (instancer.snapshot.state === "pending") throw error;
        return instancer.snapshot;
      }),
  };
}

/** The ids of a snapshot, sorted: for comparing sets where order is not the point. */
export function idsOf(snapshot: Snapshot): readonly string[] {
  return snapshot.instances.map((instance) => instance.id).toSorted();
}

/** Whether an instance with this id is in the snapshot. */
export function has(snapshot: Snapshot, id: string): boolean {
  return snapshot.instances.some((instance) => instance.id === id);
}

/** A snapshot in one line, for messages. */
export function describeSnapshot(snapshot: Snapshot): string {
  const error = "error" in snapshot ? `, error: ${messageOf(snapshot.error)}` : "";
  return `${snapshot.state} [${idsOf(snapshot).join(", ")}] (revision ${snapshot.revision}${error})`;
}

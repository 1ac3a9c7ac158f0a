import { address, createInstance, type Instance, type Snapshot, type Source } from "@rollcall/core";
import { type BrokenFake, brokenFake } from "./broken-fake.ts";
import { mapped, wrapRegistry } from "./wrap.ts";

/** Rule 1. */
export const confusesUnknownWithEmpty: readonly BrokenFake[] = [
  brokenFake(1, "says that there are none before it knows", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: () => ({
          snapshot: mapped((known) => {
            const { state, revision, instances } = known;
            return state === "pending" && known.error === undefined ? { state: "live", revision, instances } : known;
          }),
        }),
      }),
  })),
  brokenFake(1, "says that there are none when it cannot ask", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: () => ({
          snapshot: mapped((known) => {
            const { revision, instances } = known;
            const { error } = known.state === "pending" ? known : {};
            return error === undefined ? known : { state: "stale", revision, instances, error, staleSinceMs: 0 };
          }),
        }),
      }),
  })),
];

/** Rule 2. */
export const firstSnapshotPatchy: readonly BrokenFake[] = [
  brokenFake(2, "hands the first set over bit by bit", () => ({
    replacements: {
      source: (inner) => {
        let first = true;
        return mapSets(inner, function* (set) {
          if (first) yield set.slice(0, Math.ceil(set.length / 2));
          first = false;
          yield set;
        });
      },
    },
  })),
  brokenFake(2, "gives its instances in the order in which they came", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: () => ({
          snapshot: mapped((known) => {
            return Object.freeze({ ...known, instances: Object.freeze(known.instances.toReversed()) });
          }),
        }),
      }),
  })),
  brokenFake(2, "gives instances that can be changed", () => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: () => ({
          snapshot: mapped((known) => {
            const open = known.instances.map((one) => ({ ...one, tags: [...one.tags], metadata: { ...one.metadata } }));
            return Object.freeze({ ...known, instances: Object.freeze(open) });
          }),
        }),
      }),
  })),
];

/** How often a chatty backend chats, in milliseconds of its own clock. */
const CHAT_MS = 400;

/** Rule 3. */
export const chatty: readonly BrokenFake[] = [
  brokenFake(3, "notifies after each poll, whatever it brought", ({ env }) => ({
    wrap: (inner) =>
      wrapRegistry(inner, {
        instancer: (instancer) => {
          let cancel = (): void => undefined;
          return {
            subscribe(onChange) {
              const chat = (): void => {
                cancel = env.after(CHAT_MS, () => {
                  chat();
                  try {
                    if (instancer.snapshot.state === "live") onChange();
                  } catch {
                    // It chats, but it is not fragile.
                  }
                });
              };
              const unsubscribe = instancer.subscribe(onChange);
              chat();
              return () => {
                cancel();
                unsubscribe();
              };
            },
            async close() {
              cancel();
              await instancer.close();
            },
          };
        },
      }),
  })),
  brokenFake(3, "takes a record away in order to write it again", () => ({
    replacements: {
      sink: (inner) => {
        let first = true;
        return {
          name: inner.name,
          async register(instance, signal) {
            if (!first) return inner.register(instance, signal);
            first = false;
            const before = await inner.register(instance, signal);
            await before.remove(signal);
            // Long enough for a poll to come and go.
            for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
            return inner.register(instance, signal);
          },
        };
      },
    },
  })),
];

/** Rule 4. */
export const keepsDuplicates: readonly BrokenFake[] = [
  brokenFake(4, "believes every record, also two with one id", () => {
    /** What the source said last, by service. */
    const said = new Map<string, readonly Instance[]>();
    return {
      replacements: {
        source: (inner, query) => {
          return mapSets(inner, function* (set) {
            if (query.tags.length === 0) said.set(query.service, Object.freeze(set.toSorted(inOrder)));
            yield set;
          });
        },
      },
      wrap: (registry) =>
        wrapRegistry(registry, {
          instancer: (instancer) => ({
            snapshot: mapped((known: Snapshot) => {
              const instances = said.get(instancer.service);
              return known.state === "live" && instances !== undefined ? Object.freeze({ ...known, instances }) : known;
            }),
          }),
        }),
    };
  }),
];

/** Rule 5. */
export const silentAboutNone: readonly BrokenFake[] = [
  brokenFake(5, "says nothing of a service that nobody registered", () => ({
    replacements: { source: (inner) => withoutEmpty(inner, (before) => before === 0) },
  })),
  brokenFake(5, "does not believe that the last one left", () => ({
    replacements: { source: (inner) => withoutEmpty(inner, (before) => before > 0) },
  })),
];

/** Rule 6: one for each thing that can be lost on the way. */
export const loseDetails: readonly BrokenFake[] = [
  losing("the weight", (instance) => ({ ...instance, weight: 1 })),
  losing("a weight of zero", (instance) => ({ ...instance, weight: instance.weight || 1 })),
  losing("fractions of weights", (instance) => ({ ...instance, weight: Math.floor(instance.weight) })),
  losing("the zone", (instance) => createInstance({ ...instance, zone: undefined })),
  losing("the order of the tags", (instance) => ({ ...instance, tags: instance.tags.toSorted() })),
  losing("empty values of metadata", (instance) => {
    return { ...instance, metadata: Object.fromEntries(Object.entries(instance.metadata).filter(([, text]) => text)) };
  }),
  losing("what follows the first colon of a host", (instance) => {
    return { ...instance, host: instance.host.split(":")[0] ?? "" };
  }),
  brokenFake(6, "asks for one of the tags instead of all", () => ({
    replacements: { anyTag: true },
  })),
];

function losing(what: string, lose: (instance: Instance) => Instance): BrokenFake {
  return brokenFake(6, `loses ${what}`, () => ({
    replacements: {
      sink: (inner) => ({ name: inner.name, register: (instance, signal) => inner.register(lose(instance), signal) }),
    },
  }));
}

/** A source each of whose sets goes through `map`. */
function mapSets(inner: Source, map: (set: readonly Instance[]) => Iterable<readonly Instance[]>): Source {
  return {
    name: inner.name,
    async *watch(signal) {
      for await (const set of inner.watch(signal)) yield* map(set);
    },
  };
}

/** A source that keeps empty sets to itself when the number of instances before passes. */
function withoutEmpty(inner: Source, passes: (before: number) => boolean): Source {
  let before = 0;
  return mapSets(inner, function* (set) {
    if (set.length === 0 && passes(before)) return;
    before = set.length;
    yield set;
  });
}

function inOrder(a: Instance, b: Instance): number {
  const [x, y] = [`${address(a)} ${a.id}`, `${address(b)} ${b.id}`];
  return x < y ? -1 : x > y ? 1 : 0;
}

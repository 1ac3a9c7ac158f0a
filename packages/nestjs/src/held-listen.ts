import type { HttpServer as HttpAdapter } from "@nestjs/common";

/**
 * Holds back the word that the application listens: `app.listen()` resolves only when `until()` has, and rejects with its
 * error otherwise. Nest offers no hook between listening and `listen()` being done, but takes an error in the adapter's
 * callback for one of listening; so it is the adapter of this one application whose `listen` is replaced.
 */
export function holdListen(adapter: HttpAdapter, until: () => Promise<void>): void {
  const original: unknown = Reflect.get(adapter, "listen");
  if (typeof original !== "function") return;
  const listen = (...given: unknown[]): unknown => Reflect.apply(original, adapter, given);
  adapter.listen = (...given: unknown[]): unknown => {
    const callback = given.at(-1);
    if (typeof callback !== "function") return listen(...given);
    const told = async (...about: unknown[]): Promise<void> => {
      const failed = about[0] instanceof Error ? about[0] : await failureOf(until);
      callback(...(failed === undefined ? about : [failed]));
    };
    return listen(...given.slice(0, -1), (...about: unknown[]) => void told(...about));
  };
}

async function failureOf(until: () => Promise<void>): Promise<Error | undefined> {
  try {
    await until();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error), { cause: error });
  }
}

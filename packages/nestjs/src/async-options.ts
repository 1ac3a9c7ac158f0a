import type { FactoryProvider, InjectionToken, ModuleMetadata, Provider, Type } from "@nestjs/common";
import { type Check, InvalidOptionError, checkOptions, is, isDiscoveryError, messageOf } from "@rollcall/core";

/** Implemented by classes that are given as `useClass` or `useExisting`. */
export interface OptionsFactory<T> {
  create(): T | Promise<T>;
}

/** How options are made when the application is: exactly one of `useFactory`, `useClass` and `useExisting`. */
export interface AsyncOptions<T> extends Pick<ModuleMetadata, "imports"> {
  readonly useFactory?: ((...injected: never[]) => T | Promise<T>) | undefined;
  /** What is handed to `useFactory`; there is none without one. */
  readonly inject?: FactoryProvider["inject"] | undefined;
  /** A class of which one is made. */
  readonly useClass?: Type<OptionsFactory<T>> | undefined;
  /** The token of one that is there already. */
  readonly useExisting?: InjectionToken<OptionsFactory<T>> | undefined;
}

/** The checks of {@link AsyncOptions}. */
export const ASYNC_CHECKS = {
  imports: is.array,
  useFactory: is.function,
  inject: is.array,
  useClass: is.function,
  useExisting: (value: unknown, path: string): void => {
    if (value === null) throw new InvalidOptionError(path, "a provider's token", value);
  },
} as const satisfies Record<string, Check>;

const WAYS = ["useFactory", "useClass", "useExisting"] as const;

/** Throws `InvalidOptionError` for a way to make options that is none. `more` is what else may be said. */
export function checkAsync(
  path: string,
  options: AsyncOptions<unknown>,
  more: Readonly<Record<string, Check>> = {},
): void {
  checkOptions(path, options, { ...ASYNC_CHECKS, ...more });
  const given = WAYS.filter((way) => options[way] !== undefined);
  if (options.inject !== undefined && options.useFactory === undefined) {
    throw new InvalidOptionError(
      path === "" ? "inject" : `${path}.inject`,
      "no inject without useFactory",
      options.inject,
    );
  }
  if (given.length === 1) return;
  throw new InvalidOptionError(path === "" ? "options" : path, `exactly one of ${WAYS.join(", ")}`, given.join(", "));
}

/**
 * Provides under `token` what the options make. Where that fails, the application's start does, with an error that says
 * whose options they were.
 */
export function provideAsync<T>(token: InjectionToken, whose: string, options: AsyncOptions<T>): Provider[] {
  const { useFactory, inject = [], useClass, useExisting = useClass } = options;
  const made = async (make: () => T | Promise<T>): Promise<T> => {
    try {
      return await make();
    } catch (error) {
      // Those name the option that is wrong.
      if (isDiscoveryError(error, "INVALID_OPTION")) throw error;
      throw new Error(`the options of ${whose} could not be made: ${messageOf(error)}`, { cause: error });
    }
  };
  if (useFactory !== undefined) {
    return [{ provide: token, inject, useFactory: (...injected: never[]) => made(() => useFactory(...injected)) }];
  }
  if (useExisting === undefined) return [];
  return [
    ...(useClass === undefined ? [] : [useClass]),
    { provide: token, inject: [useExisting], useFactory: (given: OptionsFactory<T>) => made(() => given.create()) },
  ];
}

import {
  type Abortable,
  closable,
  type InstanceInit,
  type Instancer,
  type Registrar,
  type Registry,
  type ServiceQuery,
  type Snapshot,
} from "@rollcall/core";

/** What of an instancer is replaced. */
export interface InstancerParts {
  readonly snapshot?: (inner: Snapshot) => Snapshot;
  readonly subscribe?: (onChange: () => void) => () => void;
  readonly close?: () => Promise<void>;
}

/** What of a registrar is replaced. */
export interface RegistrarParts {
  readonly register?: (options?: Abortable) => Promise<void>;
  readonly deregister?: (options?: Abortable) => Promise<void>;
}

/** What of a registry is replaced. */
export interface RegistryParts {
  readonly instancer?: (inner: Instancer, query: ServiceQuery | string) => InstancerParts;
  readonly registrar?: (inner: Registrar, init: InstanceInit) => RegistrarParts;
}

/** A registry like the inner one, but for the given parts. Closing it closes what was made from it, then the inner one. */
export function wrapRegistry(inner: Registry, parts: RegistryParts): Registry {
  const made = new Set<Instancer>();
  return {
    name: inner.name,
    instancer(query) {
      const instancer = inner.instancer(query);
      const wrapped = wrapInstancer(instancer, parts.instancer?.(instancer, query) ?? {});
      made.add(wrapped);
      return wrapped;
    },
    registrar(init) {
      const registrar = inner.registrar(init);
      return wrapRegistrar(registrar, parts.registrar?.(registrar, init) ?? {});
    },
    ...closable(async () => {
      await Promise.allSettled([...made].map((each) => each.close()));
      await inner.close();
    }),
  };
}

function wrapInstancer(inner: Instancer, parts: InstancerParts): Instancer {
  const close = parts.close ?? (() => inner.close());
  return {
    service: inner.service,
    get snapshot() {
      return parts.snapshot?.(inner.snapshot) ?? inner.snapshot;
    },
    subscribe: parts.subscribe ?? ((onChange) => inner.subscribe(onChange)),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function wrapRegistrar(inner: Registrar, parts: RegistrarParts): Registrar {
  return {
    instance: inner.instance,
    get registered() {
      return inner.registered;
    },
    register: parts.register ?? ((options) => inner.register(options)),
    deregister: parts.deregister ?? ((options) => inner.deregister(options)),
    close: () => inner.close(),
    [Symbol.asyncDispose]: () => inner.close(),
  };
}

/** Maps each snapshot once, so that what is the same stays the same. */
export function mapped(map: (snapshot: Snapshot) => Snapshot): (snapshot: Snapshot) => Snapshot {
  const known = new WeakMap<Snapshot, Snapshot>();
  return (snapshot) => {
    const found = known.get(snapshot) ?? map(snapshot);
    known.set(snapshot, found);
    return found;
  };
}

import { type Instance, InvalidOptionError, is } from "@rollcall/core";

/** How TLS is spoken to instances; each means what it means in `node:tls`: contents, not names of files. */
export interface TlsOptions {
  /** Who may have signed the instances' certificates. Default: those that Node trusts. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[] | undefined;
  /** The client's own certificate, where instances ask for one. */
  readonly cert?: string | Buffer | undefined;
  readonly key?: string | Buffer | undefined;
  readonly passphrase?: string | undefined;
  /**
   * The name that instances are asked for (SNI) and that their certificates must be for, whatever a request's `Host`
   * header says. A function decides for each instance: `({ service }) => service` where certificates are issued to
   * services, as registries' addresses are mostly in none. Default: the instance's host.
   */
  readonly servername?: string | ((instance: Instance) => string) | undefined;
  /** Default true. `false` takes any certificate: then anybody in between can read and answer. */
  readonly rejectUnauthorized?: boolean | undefined;
}

/** Checks {@link TlsOptions}. */
export const checkTls = is.shape({
  ca: (value, path) => (Array.isArray(value) ? value : [value]).forEach((each) => is.pem(each, path)),
  cert: is.pem,
  key: is.pem,
  passphrase: is.string,
  servername: (value, path) => {
    if (typeof value !== "function") is.nonEmptyString(value, path);
  },
  rejectUnauthorized: is.boolean,
});

/** The name to ask this instance for, if not by its host. Throws `InvalidOptionError` if a function gives none. */
export function servernameOf(tls: TlsOptions | undefined, instance: Instance): string | undefined {
  const servername = tls?.servername;
  if (typeof servername !== "function") return servername;
  const name: unknown = servername(instance);
  if (typeof name !== "string" || name === "") throw new InvalidOptionError("tls.servername", "a name", name);
  return name;
}

/** What is the same for all instances, as `node:tls` takes it. */
export function tlsContext({ ca, cert, key, passphrase, rejectUnauthorized }: TlsOptions): Record<string, unknown> {
  const given = { ca: Array.isArray(ca) ? [...ca] : ca, cert, key, passphrase, rejectUnauthorized };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

import { parseArgs } from "node:util";
import { REGISTRY_KINDS, type RegistryKind } from "./registry-kind.ts";

/** What the demo can be told. */
export interface DemoOptions {
  /** Undefined: the embedded registry. */
  readonly kind?: RegistryKind | undefined;
  /** Where one runs already. Undefined: one of the demo's own is found or started. */
  readonly url?: URL | undefined;
  /** Leave everything running at the end. */
  readonly keep: boolean;
}

const USAGE = `npm run demo -- [--registry memory|consul|etcd|zookeeper|dns|<one of them>://host:port] [--keep]

  --registry  memory (default): everything in this process, over the embedded registry
              consul, etcd, zookeeper: separate processes, over a real one that is found or started
              dns: the same, but the client reads Consul's DNS
              consul://host:port, etcd://…, zookeeper://…, dns://…: the same, over the one there
  --keep      leave it running at the end, to try things out`;

/** Reads the command line. Prints the usage for `--help`, or one line for a mistake: then the exit code is returned. */
export function readOptions(args: readonly string[]): DemoOptions | number {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        registry: { type: "string", default: "memory" },
        keep: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      process.stdout.write(`${USAGE}\n`);
      return 0;
    }
    return { ...readRegistry(values.registry), keep: values.keep };
  } catch (error) {
    const [message = ""] = error instanceof Error ? error.message.split(/\. /) : [];
    process.stderr.write(`demo: ${message} (--help shows what there is)\n`);
    return 2;
  }
}

function readRegistry(text: string): Pick<DemoOptions, "kind" | "url"> {
  const name = text.replace(/:(\/\/)?$/, "");
  if (name === "memory") return {};
  const url = URL.parse(text);
  for (const kind of REGISTRY_KINDS) {
    if (name === kind.scheme) return { kind };
    if (url?.protocol === `${kind.scheme}:` && url.hostname !== "" && text === `${kind.scheme}://${url.host}`) {
      return { kind, url };
    }
  }
  const known = "memory, consul, etcd, zookeeper, dns, or one of the last four with ://host:port";
  throw new Error(`--registry must be ${known}, not "${text}"`);
}

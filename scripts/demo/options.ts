import { parseArgs } from "node:util";

/** What the demo can be told. */
export interface DemoOptions {
  /** `memory` and `consul` start a registry of their own; a URL is that of a Consul that runs already. */
  readonly registry: "memory" | "consul" | URL;
  /** Leave everything running at the end. */
  readonly keep: boolean;
}

const USAGE = `npm run demo -- [--registry memory|consul|consul://host:port] [--keep]

  --registry  memory (default): everything in this process, over the embedded registry
              consul: separate processes, over a real Consul that is found or started
              consul://host:port: the same, over the Consul there
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
    return { registry: readRegistry(values.registry), keep: values.keep };
  } catch (error) {
    const [message = ""] = error instanceof Error ? error.message.split(/\. /) : [];
    process.stderr.write(`demo: ${message} (--help shows what there is)\n`);
    return 2;
  }
}

function readRegistry(text: string): DemoOptions["registry"] {
  const name = text.replace(/:(\/\/)?$/, "");
  if (name === "memory" || name === "consul") return name;
  const url = URL.parse(text);
  if (url?.protocol === "consul:" && url.hostname !== "" && text === `consul://${url.host}`) return url;
  throw new Error(`--registry must be memory, consul or consul://host:port, not "${text}"`);
}

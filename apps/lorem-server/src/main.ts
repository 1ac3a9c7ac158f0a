import { integer, oneOf, readSettings, usage } from "./command-line.ts";
import { FRAMEWORKS, startLoremServer } from "./lorem-server.ts";
import { registryFromUrl } from "./registry-from-url.ts";
import { runApp } from "./run-app.ts";

const SETTINGS = {
  registry: {
    env: "REGISTRY",
    default: "consul://127.0.0.1:8500",
    help: "memory:, consul://host:port, etcd://host:port or zookeeper://host:port",
  },
  framework: { env: "FRAMEWORK", default: "nest", help: FRAMEWORKS.join(" or ") },
  port: { env: "PORT", default: "0", help: "where to listen, 0 for any free port" },
  host: { env: "HOST", help: "the address to listen on, all of them if not given" },
  "advertise-host": { env: "ADVERTISE_HOST", help: "the host that clients are told, found out if not given" },
  "drain-ms": { env: "DRAIN_MS", default: "1000", help: "how long to serve on after deregistering" },
} as const;

await runApp("lorem-server", async (print) => {
  const settings = readSettings(SETTINGS, process.argv.slice(2), process.env);
  if (settings.help) {
    process.stdout.write(`${usage("lorem-server", "lorem ipsum over HTTP", SETTINGS)}\n`);
    process.exit(0);
  }
  const framework = oneOf("framework", settings.framework ?? "", FRAMEWORKS);
  const port = integer("port", settings.port ?? "", 0, 65_535);
  const drainMs = integer("drain-ms", settings["drain-ms"] ?? "", 0, 600_000);
  const registry = registryFromUrl(settings.registry ?? "");
  const { host, "advertise-host": advertiseHost } = settings;
  const server = await startLoremServer({ registry, framework, port, host, advertiseHost, drainMs, print });
  return {
    stop: async () => {
      await server.close();
      await registry.close();
    },
  };
});

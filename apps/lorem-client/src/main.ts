import { integer, readSettings, registryFromUrl, runApp, usage } from "@rollcall/lorem-server";
import { startLoremClient } from "./lorem-client.ts";

const SETTINGS = {
  registry: {
    env: "REGISTRY",
    default: "consul://127.0.0.1:8500",
    help: "memory:, consul://host:port, etcd://host:port, zookeeper://host:port or dns://host:port",
  },
  port: { env: "PORT", default: "8080", help: "where to listen, 0 for any free port" },
  host: { env: "HOST", help: "the address to listen on, all of them if not given" },
} as const;

await runApp("lorem-client", async (print) => {
  const settings = readSettings(SETTINGS, process.argv.slice(2), process.env);
  if (settings.help) {
    process.stdout.write(`${usage("lorem-client", "calls the lorem servers that the registry knows", SETTINGS)}\n`);
    process.exit(0);
  }
  const port = integer("port", settings.port ?? "", 0, 65_535);
  const registry = registryFromUrl(settings.registry ?? "");
  const client = await startLoremClient({ registry, port, host: settings.host, print });
  return {
    stop: async () => {
      await client.close();
      await registry.close();
    },
  };
});

import { defineConfig } from "vitest/config";

const conditions = ["@rollcall/source", "node", "import", "module", "default"];

/** Unit tests: beside the source, run from source (no build needed), no network beyond loopback. */
export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: { include: ["src/**/*.test.ts", "test/**/*.test.ts"], exclude: ["test/**/*.integration.test.ts"], passWithNoTests: true,
    reporters: ["default", "json"],
    outputFile: { json: ".cache/test-results/unit.json" } },
});

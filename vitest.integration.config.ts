import { defineConfig } from "vitest/config";

const conditions = ["@rollcall/source", "node", "import", "module", "default"];

/** Integration tests: against real servers, which they start, kill, freeze and wipe themselves. */
export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.integration.test.ts"],
    passWithNoTests: true,
    reporters: ["default", "json"],
    outputFile: { json: ".cache/test-results/integration.json" },
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 180_000,
  },
});

import { defineConfig } from "vitest/config";

// Not "import": vitest hands these to Node, where it would turn a required package into an ES module.
const conditions = ["@rollcall/source", "node", "module"];

/** Integration tests: against real servers, which they start, kill, freeze and wipe themselves. */
export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.integration.test.ts"],
    // Tests read what their child processes print; nx would have it coloured.
    env: { FORCE_COLOR: "0" },
    passWithNoTests: true,
    reporters: ["default", "json"],
    outputFile: { json: ".cache/test-results/integration.json" },
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 180_000,
  },
});

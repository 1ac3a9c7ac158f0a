import { defineConfig } from "vitest/config";

// Not "import": vitest hands these to Node, where it would turn a required package into an ES module.
const conditions = ["@rollcall/source", "node", "module"];

/** Unit tests: beside the source, run from source (no build needed), no network beyond loopback. */
export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["test/**/*.integration.test.ts"],
    // Tests read what their child processes print; nx would have it coloured.
    env: { FORCE_COLOR: "0" },
    passWithNoTests: true,
    // Many tests send real bytes over loopback; a busy machine takes its time.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    reporters: ["default", "json"],
    outputFile: { json: ".cache/test-results/unit.json" },
  },
});

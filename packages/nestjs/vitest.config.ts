import { defineConfig } from "vitest/config";
import base from "../../vitest.unit.config.ts";

// Without "import": vitest hands the conditions to Node for all packages, and there a CommonJS one (`is-promise`, which
// Express' router requires) must not be given the file that is meant for `import`.
const conditions = ["@rollcall/source", "node", "module"];

export default defineConfig({
  ...base,
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  // Much is sent over real connections; a busy machine takes its time.
  test: { ...base.test, testTimeout: 30_000, hookTimeout: 30_000 },
});

import { defineConfig } from "vitest/config";
import base from "../../vitest.integration.config.ts";

// Without "import": vitest hands the conditions to Node for all packages, and there a CommonJS one (`is-promise`, which
// Express' router requires) must not be given the file that is meant for `import`.
const conditions = ["@rollcall/source", "node", "module"];

export default defineConfig({ ...base, resolve: { conditions }, ssr: { resolve: { conditions } } });

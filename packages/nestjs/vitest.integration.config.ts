import { defineConfig } from "vitest/config";
import base from "../../vitest.integration.config.ts";

// Without "import": see vitest.config.ts.
const conditions = ["@rollcall/source", "node", "module"];

export default defineConfig({ ...base, resolve: { conditions }, ssr: { resolve: { conditions } } });

export { default } from "../../vitest.integration.config.ts";

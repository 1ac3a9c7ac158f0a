import type { Discovery } from "./discovery.ts";

/**
 * Tells TypeScript that every Express request has `discovery`. Import it once, in the file that uses the middleware:
 * `import "@rollcall/express/augment"`. It is a file of its own because it speaks for the whole program.
 */
declare global {
  // The name and the form are Express' own.
  namespace Express {
    interface Request {
      discovery: Discovery;
    }
  }
}

export { type Check, checkOptions, checkPair, checkThat, listOf, required } from "./check-options.ts";
/** The vocabulary of {@link checkOptions}. Every option may also be `undefined`; wrap in `required` what may not. */
export * as is from "./checks.ts";

export { type SimulateOptions, simulate } from "./simulate.ts";
export { type Oracle, oracle } from "./oracle.ts";
export type { Load, Scenario, ServerGroup } from "./scenario.ts";
export type { Distribution } from "./distribution.ts";
export type { Fault, Span } from "./fault.ts";
export type { LatencyReport, Report, ServerReport } from "./report.ts";
export type { Result } from "./attempt.ts";
export { AttemptError } from "./attempt-error.ts";
export { scenarios } from "./scenarios/scenarios.ts";

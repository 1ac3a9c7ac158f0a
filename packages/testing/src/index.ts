export { freePort } from "./free-port.ts";
export { describePolicy, type PolicyRunner } from "./policies/describe-policy.ts";
export { type Answer, type Fleet, fleet, ids } from "./policies/fleet.ts";
export { type PolicyHarness, type PolicyRule, policyRules } from "./policies/rules.ts";
export { manualClock, type ManualClock, type ManualClockOptions } from "./manual-clock.ts";
export {
  scriptedSink,
  type ScriptedSink,
  type ScriptedSinkOptions,
  type SinkCall,
  type SinkOperation,
} from "./scripted-sink.ts";
export { scriptedSource, type ScriptedSource } from "./scripted-source.ts";
export { seededRandom } from "./seeded-random.ts";
export { tcpProxy, type TcpProxy, type TcpProxyMode, type TcpProxyOptions } from "./tcp-proxy.ts";

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

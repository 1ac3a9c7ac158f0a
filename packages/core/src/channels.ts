export type { Channel, InstanceMessage } from "./channel-list.ts";
/**
 * Everything Rollcall has to tell, as typed diagnostics channels: Rollcall never logs. The names and the messages are
 * part of the public contract.
 */
export * as channels from "./channel-list.ts";

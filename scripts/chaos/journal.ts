import { channels, messageOf } from "@rollcall/core";
import { nowMs } from "./now-ms.ts";

/** What happened in one process, for whoever has to find out why. */
export interface Journal {
  note(text: string): void;
  /** One line each, with the time of the machine's monotonic clock in ms. */
  readonly lines: readonly string[];
}

/** More is not kept: a storm is seen by its beginning. */
const MAX_LINES = 1_000;

/** Writes down what Rollcall tells on its channels. */
export function keepJournal(): Journal {
  const lines: string[] = [];
  const note = (text: string): void => {
    if (lines.length < MAX_LINES) lines.push(`${nowMs().toFixed(0)} ${text}`);
  };
  channels.snapshotChanged.subscribe(({ snapshot }) => {
    note(`snapshot ${snapshot.state}: ${snapshot.instances.map(({ port }) => port).join(" ")}`);
  });
  channels.sourceFailed.subscribe(({ error, retryInMs }) => {
    note(`watch ${error === undefined ? "lost" : messageOf(error)}, again in ${retryInMs.toFixed(0)} ms`);
  });
  channels.emptyHeld.subscribe(() => note("an empty answer is held back"));
  channels.badRecord.subscribe(({ skipped }) => note(`${skipped} bad records`));
  channels.registered.subscribe(({ instance }) => note(`registered ${instance.port}`));
  channels.deregistered.subscribe(({ instance }) => note(`deregistered ${instance.port}`));
  channels.registrarFailed.subscribe(({ instance, operation, error }) => {
    note(`${operation} ${instance.port}: ${messageOf(error)}`);
  });
  return { note, lines };
}

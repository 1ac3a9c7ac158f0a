import type { Rule } from "./rule.ts";
import { changesAppearInTime, throwingListenersStarveNobody } from "./rules/change.ts";
import { closingIsPrompt, nothingIsLeftOpen } from "./rules/end.ts";
import { lostWatchesReadAgain, outagesKeepTheLastGoodSet } from "./rules/failure.ts";
import { optionsStayUnchanged, usersAreIndependent } from "./rules/manners.ts";
import {
  duplicatesCollapse,
  emptyIsLive,
  equalSetsAreSilent,
  everyFieldRoundTrips,
  firstSnapshotWhole,
  pendingBeforeTheFirstAnswer,
} from "./rules/shape.ts";
import {
  abortsReject,
  acceptedMeansVisible,
  deregisteringIsFinal,
  registrationsAreKeptAlive,
  rejectionsReachTheCaller,
} from "./rules/sink.ts";

/** The rules that every backend keeps, 1 to 19, in order. Their numbers are stable. */
export const rules: readonly Rule[] = Object.freeze([
  pendingBeforeTheFirstAnswer,
  firstSnapshotWhole,
  equalSetsAreSilent,
  duplicatesCollapse,
  emptyIsLive,
  everyFieldRoundTrips,
  changesAppearInTime,
  throwingListenersStarveNobody,
  outagesKeepTheLastGoodSet,
  lostWatchesReadAgain,
  closingIsPrompt,
  nothingIsLeftOpen,
  optionsStayUnchanged,
  usersAreIndependent,
  acceptedMeansVisible,
  rejectionsReachTheCaller,
  registrationsAreKeptAlive,
  deregisteringIsFinal,
  abortsReject,
]);

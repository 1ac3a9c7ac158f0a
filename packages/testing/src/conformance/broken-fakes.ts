import type { BrokenFake } from "./fakes/broken-fake.ts";
import { fragile, slow } from "./fakes/change.ts";
import { hardToClose, leaky } from "./fakes/end.ts";
import { forgetful, panicky } from "./fakes/failure.ts";
import { entangled, rude } from "./fakes/manners.ts";
import {
  chatty,
  confusesUnknownWithEmpty,
  firstSnapshotPatchy,
  keepsDuplicates,
  loseDetails,
  silentAboutNone,
} from "./fakes/shape.ts";
import { clumsy, deaf, hasty, neglectful, stubborn } from "./fakes/sink.ts";

/**
 * The proof that the rules bite: at least one backend for each, which works but for one thing. Each must break its own
 * rule and no other one, so that a broken rule says what is wrong and a kept one means something.
 */
export const brokenFakes: readonly BrokenFake[] = [
  ...confusesUnknownWithEmpty,
  ...firstSnapshotPatchy,
  ...chatty,
  ...keepsDuplicates,
  ...silentAboutNone,
  ...loseDetails,
  ...slow,
  ...fragile,
  ...panicky,
  ...forgetful,
  ...hardToClose,
  ...leaky,
  ...rude,
  ...entangled,
  ...hasty,
  ...deaf,
  ...neglectful,
  ...clumsy,
  ...stubborn,
];

/** All scenarios, by name. */

import { scenario as asksTwice } from "./asks-twice.ts";
import { scenario as belowMinAnswersOk } from "./below-min-answers-ok.ts";
import { scenario as boundedQueue } from "./bounded-queue.ts";
import { scenario as deafNode } from "./deaf-node.ts";
import { scenario as dirtySnapshot } from "./dirty-snapshot.ts";
import { scenario as disklessPair } from "./diskless-pair.ts";
import { scenario as divergentReturn } from "./divergent-return.ts";
import { scenario as divergentTailAck } from "./divergent-tail-ack.ts";
import { scenario as drainToLearner } from "./drain-to-learner.ts";
import { scenario as emptyInSyncWins } from "./empty-in-sync-wins.ts";
import { scenario as failedDisk } from "./failed-disk.ts";
import { scenario as failedDisks } from "./failed-disks.ts";
import { scenario as firstDiskWins } from "./first-disk-wins.ts";
import { scenario as flappingPromotion } from "./flapping-promotion.ts";
import { scenario as givenUp } from "./given-up.ts";
import { scenario as halfAppliedRename } from "./half-applied-rename.ts";
import { scenario as isolatedWins } from "./isolated-wins.ts";
import { scenario as lateRemoval } from "./late-removal.ts";
import { scenario as lateSeqAnswer } from "./late-seq-answer.ts";
import { scenario as leaseAndClockDrift } from "./lease-and-clock-drift.ts";
import { scenario as liveRemoval } from "./live-removal.ts";
import { scenario as lostTransferSwap } from "./lost-transfer-swap.ts";
import { scenario as mixedFaults } from "./mixed-faults.ts";
import { scenario as moves } from "./moves.ts";
import { scenario as muteDataLink } from "./mute-data-link.ts";
import { scenario as pipelinedRead } from "./pipelined-read.ts";
import { scenario as powerCut } from "./power-cut.ts";
import { scenario as primaryDiesBeforeEpochStart } from "./primary-dies-before-epoch-start.ts";
import { scenario as promotedBeforeEpochStart } from "./promoted-before-epoch-start.ts";
import { scenario as readBehindOwnWrite } from "./read-behind-own-write.ts";
import { scenario as readBehindRefusedWrite } from "./read-behind-refused-write.ts";
import { scenario as readThenEffectStamps } from "./read-then-effect-stamps.ts";
import { scenario as readsElsewhere } from "./reads-elsewhere.ts";
import { scenario as recoversBesideTheLiving } from "./recovers-beside-the-living.ts";
import { scenario as registerBlindMember } from "./register-blind-member.ts";
import { scenario as registerBlindPrimary } from "./register-blind-primary.ts";
import { scenario as relayOwnRemoval } from "./relay-own-removal.ts";
import { scenario as resentReadOfEndedKey } from "./resent-read-of-ended-key.ts";
import { scenario as resetStream } from "./reset-stream.ts";
import { scenario as restartedMember } from "./restarted-member.ts";
import type { Scenario } from "./scenario.ts";
import { scenario as skippedTail } from "./skipped-tail.ts";
import { scenario as slowDisk } from "./slow-disk.ts";
import { scenario as splitBeforeCommitted } from "./split-before-committed.ts";
import { scenario as splitResentForward } from "./split-resent-forward.ts";
import { scenario as splitTears } from "./split-tears.ts";
import { scenario as splitThenReturn } from "./split-then-return.ts";
import { scenario as splitUnderFire } from "./split-under-fire.ts";
import { scenario as staleAppend } from "./stale-append.ts";
import { scenario as stallRestart } from "./stall-restart.ts";
import { scenario as stampsInCopy } from "./stamps-in-copy.ts";
import { scenario as uncommittedStart } from "./uncommitted-start.ts";
import { scenario as wallClockAndExpiry } from "./wall-clock-and-expiry.ts";

export const SCENARIOS: readonly Scenario[] = [
  asksTwice,
  belowMinAnswersOk,
  deafNode,
  dirtySnapshot,
  disklessPair,
  divergentReturn,
  drainToLearner,
  emptyInSyncWins,
  failedDisk,
  failedDisks,
  firstDiskWins,
  flappingPromotion,
  givenUp,
  halfAppliedRename,
  isolatedWins,
  lateRemoval,
  lateSeqAnswer,
  leaseAndClockDrift,
  liveRemoval,
  lostTransferSwap,
  moves,
  muteDataLink,
  pipelinedRead,
  powerCut,
  primaryDiesBeforeEpochStart,
  promotedBeforeEpochStart,
  readBehindOwnWrite,
  readBehindRefusedWrite,
  readThenEffectStamps,
  readsElsewhere,
  recoversBesideTheLiving,
  registerBlindMember,
  registerBlindPrimary,
  relayOwnRemoval,
  resentReadOfEndedKey,
  restartedMember,
  stallRestart,
  wallClockAndExpiry,
  boundedQueue,
  divergentTailAck,
  mixedFaults,
  staleAppend,
  stampsInCopy,
  splitBeforeCommitted,
  splitResentForward,
  splitTears,
  splitThenReturn,
  splitUnderFire,
  resetStream,
  skippedTail,
  slowDisk,
  uncommittedStart,
];

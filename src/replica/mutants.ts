/**
 * Deliberate breaks of one rule each, for testing the simulator: it must find every one. Nothing but tests sets one.
 */

/** Name of the break, the rule it breaks, and what it does. */
export const MUTANTS = {
  "two-primaries": "R1: who was primary goes on ordering in the next epoch",
  "accepts-any-epoch": "R2: a backup takes entries of an epoch that is not its own",
  "accepts-gaps": "R2: after a reset the stream goes on where it was, and a backup takes the gap",
  "commits-alone": "R3: what the primary has counts as committed",
  "commits-by-majority": "R3: a majority of the in-sync replicas is enough",
  "acks-of-any-epoch": "R3: acknowledgements of other epochs count",
  "arrival-is-ack": "R3: what was sent to a member counts as acknowledged",
  "dirty-reads": "R4: reads do not wait for uncommitted effects",
  "reads-overtake": "R4: a read does not wait for its session's forwarded writes",
  "scatters-reads": "R4: a session's pipelined reads are sent to different replicas",
  "no-lease": "R5: everyone serves without a lease",
  "echo-of-any-epoch": "R5: echoes count whatever epoch they name",
  "counts-predecessors": "R5: heartbeats of another incarnation of a member count for it",
  "suspects-early": "R5: a member is removed before its lease has run out",
  "removes-live-at-once": "R5: a live member is removed while it still has echoes",
  "echoes-after-proposal":
    "R5: who has proposed to remove a member goes on echoing it until the swap is done",
  "stall-restarts": "R5: every stall restarts the suspicion timers",
  "unproven-acts": "R6: a member proposes before it has an epoch start",
  "no-relay": "R6: swaps go to the register only, never through a peer",
  "no-back-off": "R6: who hears fewer members proposes as early as the others",
  "relays-own-removal": "R6: a node carries to the register a swap that removes itself",
  "proven-anew": "R6: a member has to prove itself in every epoch",
  "keeps-configuration": "R6: nodes do not pass configurations on",
  "skips-epoch-start": "R7: a member serves and acknowledges without an epoch start",
  "skips-tail": "R7: a new primary does not fetch what it lacks",
  "late-answer": "R7: a member accepts the old epoch's entries after it has told its position",
  "start-is-committed": "R7: what came before an epoch counts as committed when the epoch starts",
  "trusts-old-logs": "R8: a returning replica's log counts as a prefix whatever its epochs are",
  "stubs-all": "R10: who has given up a command is sent no more of it than a stub, again and again",
  "cuts-unsent": "R8: a primary cuts from its log what it has yet to send to a learner",
  "dirty-snapshot": "R9: what a copy held uncommitted counts as committed",
  "unfiltered-copy": "R9: a learner gets effects on slots that are not copied yet",
  "promotes-uncopied": "R9: a learner is promoted before its copy is complete",
  "flapping-promotion": "R9: a learner is promoted without the lease test and without waiting",
  "copy-without-stamps": "R10: a copy does not bring the stamps",
  "no-stamp-check": "R10: a primary runs whatever arrives",
  "blind-resend": "R10: at an epoch change everything is sent again under new stamps",
  "remembers-reads": "R10: a forwarded read that deleted a key past its time is not run again",
  "never-resends": "R10: nothing is sent again after a reset",
  "backup-expires": "R11: backups judge by their own clocks that a key has ended",
  "sets-back-the-clock": "R11: a new primary's clock may start before the last one's",
  "acks-before-disk": "R12: under fsync what is not on the disk yet is acknowledged",
  "recovers-beside-the-living": "R12: who restarted goes on alone although an in-sync member lives",
  "first-disk-wins":
    "R12: after a loss of power the first to come back goes on, unheard the others",
  "empty-in-sync-wins": "R12: an in-sync member whose disk was lost goes on with nothing",
  "below-min-answers-ok": "R13: a write that commits below minInSync is answered OK",
  "lost-transfer": "R14: a transfer whose swap got no answer is waited for without end",
  "leaves-to-nobody": "R14: a draining node stops serving though nobody can take over",
  "leaves-when-saved": "R14: a primary whose disk failed waits for it before it hands over",
  "split-before-committed":
    "R16: a shard is divided while not all that was ordered is at all members",
  "split-forgets-stamps": "R16: the new shard does not know the stamps of the old one",
  "split-tears":
    "R16: while it is unknown whether a shard was divided, commands on both sides are ordered",
  "leaves-to-the-diskless":
    "R14: a node whose disk failed hands over to one whose disk failed, too",
  "waits-for-its-disk":
    "R14: the last in-sync member promotes nobody before its own disk has the epoch's start",
  "no-backpressure": "R15: the primary orders on however far its backups are behind",
  "slow-primary-stays": "R15: a primary whose own disk is behind goes on as such",
} as const;

export type Mutant = keyof typeof MUTANTS;

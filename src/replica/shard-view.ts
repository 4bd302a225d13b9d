/** What those who bring commands to a shard, its courier and its inbox, need of it. What each does is said in `Shard`. */

import type { Command } from "../data/command.ts";
import type { Effects } from "../data/effects.ts";
import type { Reply } from "../data/reply.ts";
import type { Member, NodeId, ShardId, ShardRecord } from "./configuration.ts";
import type { Stamp } from "./entry.ts";
import type { Outcome, Request } from "./ports.ts";
import type { OrderedStamp } from "./stamps.ts";

export interface ShardView {
  readonly id: ShardId;
  readonly epoch: number;
  readonly record: ShardRecord;
  readonly otherMembers: readonly Member[];
  readonly isMember: boolean;
  readonly isPrimary: boolean;
  readonly isStarted: boolean;
  readonly isLeaving: boolean;
  readonly isAsync: boolean;
  readonly isBelowMin: boolean;
  readonly isDiskless: boolean;
  readonly hasLease: boolean;
  readonly serves: boolean;
  readonly canOrder: boolean;
  readonly canForward: boolean;
  /** In-sync replicas that this node, which is none, can ask to read. */
  readonly readTargets: readonly NodeId[];
  readonly commitSeq: number;
  read(request: Request): Outcome | undefined;
  readCommitted(command: Command): Reply | undefined;
  readAsLogged(request: Request): Outcome | undefined;
  plainEffect(request: Request): Effects | undefined;
  waitSeq(readSeq: number): number;
  /** Whether a write may not be ordered now, because the shard may be divided between what it touches (R16). */
  wouldTear(request: Request): boolean;
  findStamp(stamp: Stamp): OrderedStamp | "done" | undefined;
  execute(
    request: Request,
    stamp: Stamp | undefined,
    answersAfter: number | undefined,
  ): Outcome & { readonly seq: number };
}

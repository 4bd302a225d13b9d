/**
 * What the replication core needs from others, declared by the core that needs it. The core itself does no I/O, reads no
 * clock and draws no random number.
 */

import type { Command } from "../data/command.ts";
import type { KeyRecord, SlotRecords } from "../data/effect.ts";
import type { Effects } from "../data/effects.ts";
import type { Reply } from "../data/reply.ts";

/** A key that `WATCH` has seen, with the version it had: the seq of the entry that last wrote it, 0 for a missing key. */
export interface Watch {
  readonly key: string;
  readonly version: number;
}

/** One command, or the commands of one transaction, all on one shard. */
export interface Request {
  readonly commands: readonly Command[];
  /** True for MULTI/EXEC: the reply is an array with one reply a command, or null if a watched key changed. */
  readonly isTransaction: boolean;
  /** True if any of the commands may change data; such a request runs only at the primary. */
  readonly isWrite: boolean;
  readonly watched: readonly Watch[];
}

/** What running a request gave. */
export interface Outcome {
  readonly reply: Reply;
  /** What changed, already applied to the state; empty if nothing did. Valid until the machine runs or reads the next time. */
  readonly effects: Effects;
  /** The highest seq that wrote (or deleted, while uncommitted) anything that the reply depends on; 0 if none. */
  readonly readSeq: number;
}

/**
 * A shard's state: everything a command can do to data, nothing about replication. Each record remembers the seq of the
 * entry that wrote it last; a deleted key remembers the seq of its deletion until that is committed.
 */
export interface StateMachine {
  /**
   * Runs a request at the primary against the state, uncommitted effects included, and applies its effects under `seq`.
   * A key past its time is deleted first (an effect like any other), also by a read.
   * @param seq what the entry will have if it has effects.
   * @param wallMs the primary's wall clock, ms since 1970.
   */
  run(request: Request, seq: number, wallMs: number): Outcome;

  /** Whether the request's effects are the same whatever the state is, provided that it has but one: `SET key value`. */
  isPlain(request: Request): boolean;

  /** That one effect, valid until the next is asked for; undefined if the request is not plain. */
  plainEffect(request: Request): Effects | undefined;

  /**
   * Runs a request that only reads.
   * @returns undefined if a key that it names is past its time at `wallMs`: then only the primary may answer (R11).
   */
  read(request: Request, wallMs: number): Outcome | undefined;

  /**
   * As `read`, of one command alone; what it saw is then `readSeq`.
   * @returns its reply, valid until the state changes; undefined where `read` gives none.
   */
  readOne(command: Command, wallMs: number): Reply | undefined;

  /** As in an outcome, of what `readOne` has just read. */
  readonly readSeq: number;

  /** Applies the effects of the entry `seq`, as a backup does; those on slots of other shards are left out (R16). */
  apply(effects: Effects, seq: number): void;

  /** Applies the effects of the entry `seq` to what a disk gave back, which may have some of them in it already. */
  replay(effects: Effects, seq: number): void;

  /** A key as it is, for the disk; undefined if it does not exist. */
  record(key: string): KeyRecord | undefined;

  /** Tells that all up to `seq` is committed: deletions up to it need no longer be remembered. */
  committed(seq: number): void;

  /** Deletes up to `limit` keys past their time, under `seq`; the effects, already applied. */
  expire(seq: number, wallMs: number, limit: number): Effects;

  /** Forgets everything. */
  clear(): void;

  /** Does a bounded part of what may wait, such as freeing what others left behind; called at every tick. */
  sweep(): void;

  /**
   * Reads whole slots in ascending order, for a copy to another replica, from the slot `fromSlot` on, until about
   * `bytesMax` bytes are gathered or the shard ends.
   */
  copyOut(
    fromSlot: number,
    bytesMax: number,
  ): { readonly records: SlotRecords; readonly nextSlot: number };

  /** Stores what another replica's `copyOut` gave. */
  copyIn(records: SlotRecords): void;

  /**
   * Takes the slots from `at` on out of the state, with all that is known of them (R16).
   * @param at above the first slot, at most the last.
   * @returns another state, of these slots. Who does not need it clears it.
   */
  divide(at: number): StateMachine;

  /** Between which slots the request's keys lie, both included; undefined if it may concern the whole shard. */
  slotsOf(request: Request): { readonly firstSlot: number; readonly lastSlot: number } | undefined;

  /** The parts of the effects that touch slots below `slot`; `flush` touches all. */
  effectsBelow(effects: Effects, slot: number): Effects;

  /** Number of keys. */
  readonly size: number;

  /** A hash of the whole state that is equal at equal states, for tests and repair. */
  digest(): string;
}

/**
 * This node's copy of a shard as a whole, in memory and on its disk alike: where it comes from, when it is void, and what of
 * it is saved (R9, R12, R16). The disk must never take entries for the continuation of a state that it has not.
 */

import { assert } from "../kit/assert.ts";
import type { Host } from "./host.ts";
import type { RestoredLog } from "./journal.ts";
import type { CopyStart } from "./messages.ts";
import { Saving } from "./saving.ts";
import type { Shard } from "./shard.ts";

export class OwnCopy {
  readonly #host: Host;
  readonly #shard: Shard;
  readonly #saving = new Saving();
  /** The disk, if there is one, holds the state or is about to; entries go on from there. */
  #isStored = false;
  /** First of the log's last entries, which the journal does not have yet; 0 if it has all. */
  #unwrittenSeq = 0;
  /** One of them is to be on disk before it is acknowledged. */
  #isAwaited = false;

  constructor(host: Host, shard: Shard) {
    this.#host = host;
    this.#shard = shard;
  }

  // ---------------------------------------------------------------- what is on the disk

  /** What is on disk of the log as of the present epoch's start, or of what a learner holds; -1 before that is. */
  get savedSeq(): number {
    return this.#saving.seq;
  }

  epochInstalled(): void {
    this.#resetSaving();
  }

  #resetSaving(): void {
    this.#saving.reset();
    this.#isAwaited = false;
  }

  /**
   * The log has got an entry. It is written down with all others of the turn.
   * @param isAwaited it is to be on disk before it is acknowledged.
   */
  appended(seq: number, isAwaited: boolean): void {
    if (this.#unwrittenSeq === 0) {
      this.#storeFirst();
      this.#unwrittenSeq = seq;
      this.#host.writeLater(this);
    }
    if (isAwaited) this.#isAwaited = true;
  }

  /**
   * Writes down the entries that the log has got, before anything else is written down.
   * @param cutSeq only if there is one of those up to this seq, which the log is about to let go of.
   */
  writeEntries(cutSeq: number = Number.POSITIVE_INFINITY): void {
    const firstSeq = this.#unwrittenSeq;
    if (firstSeq === 0 || firstSeq > cutSeq) return;
    this.#unwrittenSeq = 0;
    const { id, log } = this.#shard;
    const entries = log.slice(firstSeq, Number.POSITIVE_INFINITY);
    this.#host.journal({ kind: "entries", shard: id, entries });
    if (this.#isAwaited) this.expectSaved();
    this.#isAwaited = false;
  }

  /** Writes down that the epoch's start has come, with everything before it. */
  writeStart(epoch: number): void {
    this.#storeFirst();
    this.#host.journal({ kind: "started", shard: this.#shard.id, epoch });
    this.expectSaved();
  }

  /** A disk that has nothing of the present state gets all of it before what goes on from there. */
  #storeFirst(): void {
    if (!this.#isStored) this.store();
  }

  /** What the journal has by now is to be on disk before it is acknowledged. */
  expectSaved(): void {
    const { journaled, savedItems, settings } = this.#host;
    if (settings.durability !== "fsync") return;
    const saved = this.#host.isFilling(this.#shard.id) ? -1 : savedItems;
    this.#saving.expect(journaled, saved, this.#shard.log.lastSeq);
  }

  /** So many items of the journal are on disk. Returns whether anything came of it. */
  saved(items: number): boolean {
    return !this.#host.isFilling(this.#shard.id) && this.#saving.saved(items);
  }

  /** The state is a prefix (again): all of it is to be on disk. */
  store(): void {
    this.#isStored = true;
    this.#host.journal({ kind: "whole", shard: this.#shard.id });
    this.expectSaved();
  }

  /** A disk in place of a broken one knows nothing of what this node holds. */
  storeAnew(): void {
    const { learner, isHolder, epoch } = this.#shard;
    this.#resetSaving();
    this.#unwrittenSeq = 0;
    if (learner.isIntact && isHolder && epoch > 0) this.store();
  }

  #journalVoid(): void {
    if (this.#isStored) this.#host.journal({ kind: "void", shard: this.#shard.id });
    this.#isStored = false;
  }

  // ---------------------------------------------------------------- where it comes from, and when it is void

  /** Goes on from what a disk gave back; the machine holds the state as of the last entry already. */
  restore({ checkpoint, entries, startedEpoch }: RestoredLog): void {
    const { epoch, log, stamps } = this.#shard;
    assert(epoch === 0, "a disk is read before the first epoch is installed");
    this.#isStored = true;
    stamps.reset(checkpoint.stamps);
    const [first] = entries;
    if (first === undefined) log.reset(checkpoint.seq, checkpoint.epochs);
    else {
      const before = checkpoint.epochs.filter((row) => row.firstSeq < first.seq);
      log.reset(first.seq - 1, before);
    }
    for (const entry of entries) {
      log.append(entry);
      if (entry.stamp !== undefined && entry.seq > checkpoint.seq) {
        stamps.record(entry.stamp, entry.seq, entry.reply);
      }
    }
    // What was committed is not known: all of it counts as dirty until the next epoch has it at all its members.
    const commitSeq = log.firstSeq - 1;
    this.#shard.standAt({ commitSeq, uncommittedBytes: log.bytes, startedEpoch });
  }

  /** At a learner: a copy begins, and nothing of what was here before is left. */
  beginCopy({ seq, epochs, commitSeq, stamps, wallMs }: CopyStart): void {
    const shard = this.#shard;
    const isCommitted = this.#host.mutant === "dirty-snapshot";
    this.writeEntries();
    shard.machine.clear();
    shard.log.reset(seq, epochs);
    shard.standAt({
      commitSeq: isCommitted ? seq : Math.min(commitSeq, seq),
      uncommittedBytes: 0,
      startedEpoch: 0,
    });
    shard.stamps.reset(stamps);
    shard.clock.see(wallMs);
    this.#journalVoid();
  }

  /** What a node holds of a shard that is none of its business is of no use to anyone. */
  forget(): void {
    const { log, learner } = this.#shard;
    if (log.lastSeq === 0 && learner.isIntact) return;
    this.#clear();
    learner.isIntact = true;
    learner.reset();
    this.#journalVoid();
  }

  /** Forgets a state that is no prefix of anything, and begins empty. */
  discardUnlessIntact(): void {
    const { learner } = this.#shard;
    if (learner.isIntact) return;
    this.#clear();
    learner.isIntact = true;
    this.store();
  }

  #clear(): void {
    const shard = this.#shard;
    this.writeEntries();
    shard.machine.clear();
    shard.log.reset(0, []);
    shard.standAt({ commitSeq: 0, uncommittedBytes: 0, startedEpoch: 0 });
    shard.stamps.reset([]);
  }

  /**
   * Gives a shard that this one is divided into a log of its own, which is this one's so far, and with it what is known of
   * its entries (R16). The child has its part of the state already.
   */
  giveTo(child: Shard): void {
    const shard = this.#shard;
    child.log.inherit(shard.log);
    const { mutant } = this.#host;
    child.stamps.reset(mutant === "split-forgets-stamps" ? [] : shard.stamps.records());
    child.standAt(shard);
    if (!this.#isStored) return;
    child.ownCopy.#isStored = true;
    const at = child.record.firstSlot;
    this.#host.journal({ kind: "divided", shard: shard.id, into: child.id, at });
  }
}

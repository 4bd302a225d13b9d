/**
 * A queue of frames of bytes in memory that two threads share, one of which only writes and the other only reads. Nobody waits
 * for a lock, and nothing is dropped: a frame that has no room is refused.
 *
 *     writer: copies the frame behind TAIL, then stores TAIL     publishes the frame
 *     reader: loads TAIL, copies the frame out, then stores HEAD  gives its room back
 *
 * A position counts all bytes ever, modulo 2^32. `Atomics` are sequentially consistent, so who sees the other's position sees
 * all that the other did before it stored it; each position has one thread that stores it.
 *
 * A reader that is going to wait for a bell says so in SLEEPS and then looks at TAIL once more; a writer stores TAIL and then looks
 * at SLEEPS. In whatever order these come, one of them sees the other's. It is the same with WAITS, of a writer that has no room,
 * and HEAD. Whoever takes such a mark back rings, once.
 */

import { assert } from "../kit/assert.ts";
import { copyBytes, type Memory, memoryOf } from "../kit/memory.ts";

/** Places in the control words, each in a cache line of its own. */
const HEAD = 0;
const TAIL = 16;
const SLEEPS = 32;
const WAITS = 48;
const CONTROL_BYTES = 256;
/** Before each frame, its length. Frames begin at multiples of it, so that none is torn by the end of the ring. */
const HEADER_BYTES = 4;

/** @param bytes a power of two, at least 16 and at most 2^30: what the frames that wait may take, with 4 to 7 bytes for each. */
export function createRing(bytes: number): SharedArrayBuffer {
  const isPowerOfTwo = Number.isInteger(Math.log2(bytes));
  assert(isPowerOfTwo && bytes >= 16 && bytes <= 2 ** 30, "a ring has a length that masks can cut");
  return new SharedArrayBuffer(CONTROL_BYTES + bytes);
}

/** One thread's end of a ring. */
class RingEnd {
  protected readonly words: Int32Array;
  protected readonly data: Memory;
  protected readonly bytes: number;

  /** @param shared what `createRing` gave. */
  constructor(shared: SharedArrayBuffer) {
    this.words = new Int32Array(shared, 0, CONTROL_BYTES / 4);
    this.bytes = shared.byteLength - CONTROL_BYTES;
    this.data = memoryOf(Buffer.from(shared, CONTROL_BYTES, this.bytes));
  }

  /** @returns whether the mark was there, which is then the caller's to act on. */
  protected takesBack(mark: number): boolean {
    return (
      Atomics.load(this.words, mark) === 1 && Atomics.compareExchange(this.words, mark, 1, 0) === 1
    );
  }
}

export class RingWriter extends RingEnd {
  /** Only this end stores it, so that it needs not be loaded. */
  #tail: number;

  constructor(shared: SharedArrayBuffer) {
    super(shared);
    this.#tail = Atomics.load(this.words, TAIL);
  }

  /** How many bytes a frame may have that fits into the empty ring. */
  get frameBytesMax(): number {
    return this.bytes - HEADER_BYTES;
  }

  /** Whether the reader has taken all frames. */
  get isEmpty(): boolean {
    return Atomics.load(this.words, HEAD) === (this.#tail | 0);
  }

  /**
   * Appends the first `length` bytes of `source` as one frame.
   * @returns false if there is no room for it now; then nothing is changed.
   */
  offer(source: Memory, length: number): boolean {
    assert(length <= this.frameBytesMax, "a frame fits into its ring");
    const tail = this.#tail;
    const used = (tail - Atomics.load(this.words, HEAD)) >>> 0;
    const taken = roomOf(length);
    if (this.bytes - used < taken) return false;
    const mask = this.bytes - 1;
    this.data.view.setUint32(tail & mask, length, true);
    const start = (tail + HEADER_BYTES) & mask;
    const first = Math.min(length, this.bytes - start);
    copyBytes(source, 0, first, this.data, start);
    if (first < length) copyBytes(source, first, length, this.data, 0);
    this.#tail = (tail + taken) >>> 0;
    Atomics.store(this.words, TAIL, this.#tail | 0);
    return true;
  }

  /** To be called after `offer`. @returns whether the reader waits for a bell, which the caller then has to ring. */
  mustWake(): boolean {
    return this.takesBack(SLEEPS);
  }

  /** Asks for a bell when there is room again. To be followed by another attempt, for it may have come meanwhile. */
  waitForRoom(): void {
    Atomics.store(this.words, WAITS, 1);
  }
}

export class RingReader extends RingEnd {
  /** Only this end stores it. */
  #head: number;
  #isAsleep = false;

  constructor(shared: SharedArrayBuffer) {
    super(shared);
    this.#head = Atomics.load(this.words, HEAD);
  }

  /** Bytes of the next frame, which may be none; undefined if there is no frame. */
  get nextBytes(): number | undefined {
    if (Atomics.load(this.words, TAIL) === (this.#head | 0)) return undefined;
    return this.data.view.getUint32(this.#head & (this.bytes - 1), true);
  }

  /** Copies the next frame, of which `nextBytes` told the length, to `target` from `at` on, and gives its room back. */
  take(target: Memory, at: number): void {
    const length = this.nextBytes;
    assert(length !== undefined, "there is a frame to take");
    const start = (this.#head + HEADER_BYTES) & (this.bytes - 1);
    const first = Math.min(length, this.bytes - start);
    copyBytes(this.data, start, start + first, target, at);
    if (first < length) copyBytes(this.data, 0, length - first, target, at + first);
    this.#head = (this.#head + roomOf(length)) >>> 0;
    Atomics.store(this.words, HEAD, this.#head | 0);
  }

  /** To be called after `take`. @returns whether the writer waits for room, so that the caller has to ring. */
  mustWake(): boolean {
    return this.takesBack(WAITS);
  }

  /** @returns whether there is nothing to read, and the writer will ring when there is. */
  sleep(): boolean {
    this.#isAsleep = true;
    Atomics.store(this.words, SLEEPS, 1);
    if (this.nextBytes === undefined) return true;
    this.wake();
    return false;
  }

  /** Needs no bell until the next `sleep`. */
  wake(): void {
    if (!this.#isAsleep) return;
    this.#isAsleep = false;
    // The writer may have taken the mark back just now; its bell does no harm.
    Atomics.store(this.words, SLEEPS, 0);
  }
}

/** What a frame takes of a ring. */
function roomOf(length: number): number {
  return (HEADER_BYTES + length + HEADER_BYTES - 1) & -HEADER_BYTES;
}

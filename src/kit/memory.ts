/** Bytes in two shapes: a loop over words of a view is the fastest way to copy or compare few bytes that lie anywhere. */

/** Buffer and view of the same bytes. */
export interface Memory {
  readonly bytes: Buffer;
  readonly view: DataView;
}

/** Above so many bytes, a call into the engine is faster than a loop. */
const LOOP_BYTES_MAX = 128;
/** The same for a binary string, which has no words. */
const LOOP_TEXT_MAX = 24;
/** Nobody wants to keep a longer buffer from being freed. */
const REMEMBERED_BYTES_MAX = 1024 * 1024;

/** Not zeroed. */
export function allocate(bytes: number): Memory {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  return { bytes: buffer, view: viewOf(buffer) };
}

/** Of a buffer that is already there. */
export function memoryOf(bytes: Buffer): Memory {
  return { bytes, view: viewOf(bytes) };
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Remembers the memory of the last two buffers, for a key and its value come from one or two and many in a row from the same. */
export class Memories {
  #last: Memory = allocate(0);
  #other: Memory = this.#last;

  of(bytes: Buffer): Memory {
    if (this.#last.bytes === bytes) return this.#last;
    if (bytes.length > REMEMBERED_BYTES_MAX) return memoryOf(bytes);
    const found = this.#other.bytes === bytes ? this.#other : memoryOf(bytes);
    this.#other = this.#last;
    this.#last = found;
    return found;
  }

  /** As `copyBytes`, out of a buffer. A long piece is mostly one of a kind, and needs no view. */
  copy(from: Buffer, start: number, end: number, to: Memory, at: number): void {
    if (end - start > LOOP_BYTES_MAX) to.bytes.set(from.subarray(start, end), at);
    else copyBytes(this.of(from), start, end, to, at);
  }
}

/** Copies the bytes of `from` from `start` to before `end` to `to` from `at` on, which is elsewhere. */
export function copyBytes(from: Memory, start: number, end: number, to: Memory, at: number): void {
  const length = end - start;
  if (length > LOOP_BYTES_MAX) {
    to.bytes.set(from.bytes.subarray(start, end), at);
    return;
  }
  const source = from.view;
  const target = to.view;
  let i = 0;
  for (; i + 4 <= length; i += 4) target.setInt32(at + i, source.getInt32(start + i));
  for (; i < length; i++) target.setUint8(at + i, source.getUint8(start + i));
}

/** Whether the bytes of `a` from `aStart` on are those of `b` from `bStart` to before `bEnd`. */
export function areEqual(
  a: Memory,
  aStart: number,
  b: Memory,
  bStart: number,
  bEnd: number,
): boolean {
  const length = bEnd - bStart;
  if (length > LOOP_BYTES_MAX) {
    return a.bytes.compare(b.bytes, bStart, bEnd, aStart, aStart + length) === 0;
  }
  const first = a.view;
  const second = b.view;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    if (first.getInt32(aStart + i) !== second.getInt32(bStart + i)) return false;
  }
  for (; i < length; i++) {
    if (first.getUint8(aStart + i) !== second.getUint8(bStart + i)) return false;
  }
  return true;
}

/** Writes a binary string to `to` from `at` on. */
export function writeText(text: string, to: Memory, at: number): void {
  const { length } = text;
  if (length > LOOP_TEXT_MAX) {
    to.bytes.write(text, at, length, "latin1");
    return;
  }
  const { bytes } = to;
  for (let i = 0; i < length; i++) bytes[at + i] = text.charCodeAt(i);
}

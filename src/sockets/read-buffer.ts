/**
 * The memory that bytes from sockets come into. The system reads into one buffer for all connections; what came is copied at
 * once behind what came before, and stays there until nobody needs anything of it any more. That is far cheaper than what sockets do
 * by themselves, a new buffer of 64 KiB for each read, most of it given back at once.
 */

/** Bytes of one read at most. */
const READ_BYTES_MAX = 64 * 1024;
/** What takes a larger part of a page gets a buffer of its own, so that the end of a page is not wasted on it. */
const SHARED_DIVISOR = 8;

export class ReadBuffer {
  /** Where the system reads to. */
  readonly target: Buffer = Buffer.allocUnsafeSlow(READ_BYTES_MAX);
  /** The memory that `keep` copied to, and the place in it. */
  page: Buffer;
  start = 0;
  end = 0;
  readonly #pageBytes: number;
  /** The page that is being filled, and how far. */
  #filling: Buffer;
  #used = 0;

  /** @param pageBytes of the memory that reads share: a piece of it keeps all of it alive. */
  constructor(pageBytes: number) {
    this.#pageBytes = pageBytes;
    this.page = Buffer.allocUnsafeSlow(pageBytes);
    this.#filling = this.page;
  }

  /** Copies what was read, so that the next read may come: to `page`, from `start` to before `end`. */
  keep(count: number): void {
    if (count > this.#pageBytes / SHARED_DIVISOR) {
      this.page = Buffer.allocUnsafeSlow(count);
      this.start = 0;
    } else {
      if (this.#used + count > this.#pageBytes) {
        this.#filling = Buffer.allocUnsafeSlow(this.#pageBytes);
        this.#used = 0;
      }
      this.page = this.#filling;
      this.start = this.#used;
      this.#used += count;
    }
    this.end = this.start + count;
    this.target.copy(this.page, this.start, 0, count);
  }
}

/**
 * The memory that clients' bytes come into. The system reads into one buffer for all connections; what came is copied at once
 * behind what came before, and stays there until the last request in it is answered. That is far cheaper than what sockets do
 * by themselves, a new buffer of 64 KiB for each read, most of it given back at once.
 */

/** Bytes of one read at most. */
const READ_BYTES_MAX = 64 * 1024;
/** Bytes that requests share; limits.md tells what a request keeps alive. */
const PAGE_BYTES = 64 * 1024;
/** What is larger gets a buffer of its own, so that the end of a page is not wasted on it. */
const SHARED_BYTES_MAX = PAGE_BYTES / 8;

export class ReadBuffer {
  /** Where the system reads to. */
  readonly target: Buffer = Buffer.allocUnsafeSlow(READ_BYTES_MAX);
  /** The memory that `keep` copied to, and the place in it. */
  page: Buffer = Buffer.allocUnsafeSlow(PAGE_BYTES);
  start = 0;
  end = 0;
  /** The page that is being filled, and how far. */
  #filling: Buffer = this.page;
  #used = 0;

  /** Copies what was read, so that the next read may come: to `page`, from `start` to before `end`. */
  keep(count: number): void {
    if (count > SHARED_BYTES_MAX) {
      this.page = Buffer.allocUnsafeSlow(count);
      this.start = 0;
    } else {
      if (this.#used + count > PAGE_BYTES) {
        this.#filling = Buffer.allocUnsafeSlow(PAGE_BYTES);
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

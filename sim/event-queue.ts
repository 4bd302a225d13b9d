/** Virtual time: events in the order of their time, and of their making at equal times. */

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** A binary heap of events. */
export class EventQueue {
  readonly #heap: Event[] = [];
  #order = 0;
  /** The time of the event that runs now, virtual ms. */
  nowMs = 0;

  /** @param delayMs from now; negative counts as 0. */
  after(delayMs: number, run: () => void): void {
    const event = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order, run };
    this.#order += 1;
    const heap = this.#heap;
    heap.push(event);
    let index = heap.length - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent] as Event;
      if (!isBefore(event, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = event;
  }

  /** Runs what is due up to `untilMs`; afterwards it is that time. */
  runUntil(untilMs: number): void {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#pop();
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = untilMs;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Event;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = index * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) {
        child += 1;
      }
      if (isBefore(last, heap[child] as Event)) break;
      heap[index] = heap[child] as Event;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(left: Event, right: Event): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order);
}

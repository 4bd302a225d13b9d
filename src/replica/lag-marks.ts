/** Tells how old what a member lacks is, from samples of the log's end. */

export class LagMarks {
  #marks: { readonly seq: number; readonly atMs: number }[] = [];

  /** Takes a sample; those that are committed everywhere are forgotten. */
  note(nowMs: number, log: { readonly commitSeq: number; readonly lastSeq: number }): void {
    const last = this.#marks.at(-1);
    if (log.lastSeq > log.commitSeq && (last === undefined || last.seq < log.lastSeq)) {
      this.#marks.push({ seq: log.lastSeq, atMs: nowMs });
    }
    let done = 0;
    while ((this.#marks[done]?.seq ?? Number.POSITIVE_INFINITY) <= log.commitSeq) done += 1;
    if (done > 0) this.#marks.splice(0, done);
  }

  /** Since when, at least, there is an entry past `ackSeq`, in ms before now; undefined if there is none. */
  ageMs(nowMs: number, ackSeq: number): number | undefined {
    const mark = this.#marks.find(({ seq }) => seq > ackSeq);
    return mark === undefined ? undefined : nowMs - mark.atMs;
  }
}

/** Finds a command by the bytes of its name, in any case, without making a string of them. */

import type { Command } from "../data/command.ts";

const LETTER_A = 65;
const LETTER_Z = 90;
/** What makes a capital letter a small one. */
const SMALL = 32;
/** Places for each name, so that most lookups end at the first. */
const PLACES_PER_NAME = 4;

/** A table of what has a name. */
export class NameTable<T> {
  readonly #names: string[] = [];
  readonly #values: (T | undefined)[] = [];
  readonly #mask: number;
  #longest = 0;

  /** @param entries names in lower case, each once, with what they name. */
  constructor(entries: ReadonlyMap<string, T>) {
    let places = 1;
    while (places < entries.size * PLACES_PER_NAME) places *= 2;
    this.#mask = places - 1;
    for (let at = 0; at < places; at += 1) {
      this.#names.push("");
      this.#values.push(undefined);
    }
    for (const [name, value] of entries) {
      this.#longest = Math.max(this.#longest, name.length);
      const bytes = Buffer.from(name, "latin1");
      let at = hash(bytes, 0, bytes.length) & this.#mask;
      while (this.#values[at] !== undefined) at = (at + 1) & this.#mask;
      this.#names[at] = name;
      this.#values[at] = value;
    }
  }

  /** What the first argument names. */
  find(command: Command): T | undefined {
    const { buffer } = command;
    const start = command.start(0);
    const end = command.end(0);
    if (end - start > this.#longest) return undefined;
    let at = hash(buffer, start, end) & this.#mask;
    for (;;) {
      const value = this.#values[at];
      if (value === undefined || isName(this.#names[at] as string, buffer, start, end))
        return value;
      at = (at + 1) & this.#mask;
    }
  }
}

function isName(name: string, buffer: Buffer, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let at = start; at < end; at += 1) {
    if (name.charCodeAt(at - start) !== lower(buffer[at] as number)) return false;
  }
  return true;
}

function lower(byte: number): number {
  return byte >= LETTER_A && byte <= LETTER_Z ? byte | SMALL : byte;
}

function hash(buffer: Buffer, start: number, end: number): number {
  let state = 0;
  for (let at = start; at < end; at += 1) state = (state * 31 + lower(buffer[at] as number)) | 0;
  // The low bits alone would be those of the last letters.
  return state ^ (state >>> 7);
}

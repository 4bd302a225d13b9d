/** A command as bytes: how requests travel from a client's socket to a shard, here or at another node, without strings. */

import { assert } from "../kit/assert.ts";
import { slotOfBytes } from "../kit/crc16.ts";

/** The arguments of one command, the name first, as pieces of a buffer that nobody writes to there any more. */
export class Command {
  readonly buffer: Buffer;
  /** Start and end of each argument: two numbers an argument, from `first` on. Commands that came together share them. */
  readonly spans: readonly number[];
  readonly first: number;
  /** Number of arguments, the name included; at least one. */
  readonly count: number;
  /** Its place in the table of commands, for who has looked it up; -1 if nobody has. It means nothing to another process. */
  code = -1;

  constructor(buffer: Buffer, spans: readonly number[], first: number, count: number) {
    this.buffer = buffer;
    this.spans = spans;
    this.first = first;
    this.count = count;
  }

  /** @param args binary strings, the name first; at least one. */
  static of(...args: readonly string[]): Command {
    return Command.from(args);
  }

  /** @param args binary strings, the name first; at least one. */
  static from(args: readonly string[]): Command {
    assert(args.length > 0, "a command has a name");
    const spans: number[] = [];
    let at = 0;
    for (const argument of args) {
      spans.push(at, at + argument.length);
      at += argument.length;
    }
    const buffer = Buffer.allocUnsafeSlow(at);
    for (const [index, argument] of args.entries()) {
      buffer.write(argument, spans[index * 2] as number, "latin1");
    }
    return new Command(buffer, spans, 0, args.length);
  }

  /** Where an argument begins in the buffer. @param index below `count`. */
  start(index: number): number {
    return this.spans[this.first + index * 2] as number;
  }

  /** Where an argument ends in the buffer. @param index below `count`. */
  end(index: number): number {
    return this.spans[this.first + index * 2 + 1] as number;
  }

  /** An argument as a binary string. @param index below `count`. */
  text(index: number): string {
    assert(index < this.count, "the number of arguments has been checked");
    return this.buffer.toString("latin1", this.start(index), this.end(index));
  }

  /** An argument as a binary string; undefined if there is none. */
  at(index: number): string | undefined {
    return index < this.count ? this.text(index) : undefined;
  }

  /** The slot of an argument that is a key, 0 to 16383. @param index below `count`. */
  slot(index: number): number {
    return slotOfBytes(this.buffer, this.start(index), this.end(index));
  }

  /** All arguments as binary strings. */
  texts(): string[] {
    const texts: string[] = [];
    for (let index = 0; index < this.count; index += 1) texts.push(this.text(index));
    return texts;
  }

  /** Bytes of all arguments. */
  get bytes(): number {
    let bytes = 0;
    for (let index = 0; index < this.count; index += 1)
      bytes += this.end(index) - this.start(index);
    return bytes;
  }

  /** The command that some of the arguments make. @param indexes at least one, each below `count`. */
  pick(indexes: readonly number[]): Command {
    const spans: number[] = [];
    for (const index of indexes) spans.push(this.start(index), this.end(index));
    return new Command(this.buffer, spans, 0, indexes.length);
  }

  /** The same command in memory of its own: to be kept for long, where what came with it must not be. */
  copy(): Command {
    const { count } = this;
    const buffer = Buffer.allocUnsafeSlow(this.bytes);
    const spans: number[] = [];
    let at = 0;
    for (let index = 0; index < count; index += 1) {
      const start = at;
      at += this.buffer.copy(buffer, at, this.start(index), this.end(index));
      spans.push(start, at);
    }
    const copy = new Command(buffer, spans, 0, count);
    copy.code = this.code;
    return copy;
  }

  /** For traces and assertions: the arguments as text. */
  toJSON(): readonly string[] {
    return this.texts();
  }
}

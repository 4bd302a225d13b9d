/**
 * Who gives stamps, by numbers of one byte: entries name the same few processes over and over, and a name and an incarnation
 * take ten bytes.
 */

import { assert } from "../kit/assert.ts";
import { type ByteReader, type ByteWriter, MalformedError } from "../kit/bytes.ts";
import type { Incarnation, NodeId } from "./configuration.ts";

/** A node's process. */
export interface Issuer {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
}

/** Numbers are below this. Whoever has none is named in full, which only takes more bytes. */
export const ISSUERS_MAX = 255;

/**
 * A node's numbers mean nothing elsewhere: who gives away bytes in which they stand tells what they mean, and who takes such
 * bytes into a log of its own puts its own numbers there. A number keeps its meaning for as long as the process lives.
 */
export class Issuers {
  readonly #known: (Issuer | undefined)[] = [];

  /** Above all numbers. */
  get end(): number {
    return this.#known.length;
  }

  /** @returns whose number it is; undefined if it is nobody's. */
  at(number: number): Issuer | undefined {
    return this.#known[number];
  }

  /** @returns the number, as far as there is one. */
  find(node: NodeId, incarnation: Incarnation): number | undefined {
    const known = this.#known;
    for (let number = 0; number < known.length; number += 1) {
      const issuer = known[number];
      if (issuer?.incarnation === incarnation && issuer.node === node) return number;
    }
    return undefined;
  }

  /** As `find`; gives a number to whom has none yet, as long as there are any. */
  numberOf(node: NodeId, incarnation: Incarnation): number | undefined {
    const number = this.find(node, incarnation);
    if (number !== undefined || this.#known.length === ISSUERS_MAX) return number;
    this.#known.push({ node, incarnation });
    return this.#known.length - 1;
  }

  /** Writes what some numbers mean. @param numbers each somebody's. */
  write(writer: ByteWriter, numbers: readonly number[]): void {
    writer.varint(numbers.length);
    for (const number of numbers) {
      const issuer = this.#known[number];
      assert(issuer !== undefined, "a number is somebody's");
      writer.u8(number);
      writer.string(issuer.node);
      writer.varint(issuer.incarnation);
    }
  }

  /**
   * Reads what some numbers mean.
   * @throws MalformedError
   */
  read(reader: ByteReader): void {
    for (let left = reader.count(3); left > 0; left -= 1) {
      const number = reader.u8();
      if (number >= ISSUERS_MAX) throw new MalformedError("no such number of an issuer");
      this.#known[number] = { node: reader.string(), incarnation: reader.varint() };
    }
  }
}

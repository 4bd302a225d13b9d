/**
 * What a command answers, independent of the RESP version that the client speaks.
 *
 * Where keys, values and arguments are text, they are *binary strings* everywhere in HotHot: JavaScript strings whose every
 * character is one byte (latin1). They hold any bytes, cost one byte a character, and can be keys of a `Map`.
 */

import type { Bytes } from "./bytes.ts";

/** A simple string such as `+OK`. */
export class Status {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** An error answer. `code` is its first word (`ERR`, `WRONGTYPE`, `MOVED` …); `message` is what follows it. */
export class Refusal {
  readonly code: string;
  readonly message: string;
  constructor(code: string, message: string) {
    this.code = code;
    this.message = message;
  }
}

/** A floating-point answer: a double in RESP3, a bulk string in RESP2. */
export class DoubleReply {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** Field-value pairs in order: a map in RESP3, a flat array in RESP2. */
export class MapReply {
  readonly entries: readonly (readonly [Reply, Reply])[];
  constructor(entries: readonly (readonly [Reply, Reply])[]) {
    this.entries = entries;
  }
}

/** A set in RESP3, an array in RESP2. */
export class SetReply {
  readonly members: readonly Reply[];
  constructor(members: readonly Reply[]) {
    this.members = members;
  }
}

/** Text for people: a verbatim string (`txt`) in RESP3, a bulk string in RESP2. */
export class VerbatimReply {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Out-of-band data: a push in RESP3, an array in RESP2. */
export class PushReply {
  readonly items: readonly Reply[];
  constructor(items: readonly Reply[]) {
    this.items = items;
  }
}

/** The null array of RESP2 (`*-1`), which an aborted `EXEC` answers; plain null in RESP3. */
export class NullArray {}

/**
 * A reply. A plain string is a bulk string (binary), and so are `Bytes`; `null` is the null bulk string, numbers and bigints
 * are integers.
 */
export type Reply =
  | null
  | boolean
  | number
  | bigint
  | string
  | Bytes
  | Status
  | Refusal
  | DoubleReply
  | MapReply
  | SetReply
  | VerbatimReply
  | PushReply
  | NullArray
  | readonly Reply[];

export const OK = new Status("OK");
export const QUEUED = new Status("QUEUED");
export const NULL_ARRAY = new NullArray();

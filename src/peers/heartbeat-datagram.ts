/**
 * Heartbeats as datagrams that fit into any path. A heartbeat that is too long for one travels in parts, and counts only
 * once all of them are there: its echo speaks for every shard that it names, so a shard whose part was lost must not be
 * taken for heard. One more datagram, the exclusive or of all parts and the frame's length before it, stands in for any
 * part that is lost: else a heartbeat of seven parts would be lost almost seven times as often as one of one.
 *
 *     "HB" · wire version (1 byte) · flags (1) · sender's incarnation (6) · receiver's incarnation (6) ·
 *     number (6) · part, or `parts` for the one more (2) · parts (2) · sender's id (length and bytes) · part of the frame · tag (16, with a secret)
 *
 * The tag is an HMAC over all that is before it. Both incarnations are drawn anew at every start, so a datagram of another
 * run of either process is never taken. Within one run each datagram has its own number, and is taken once. What is merely
 * late, or overtaken, is harmless: the send time in the heartbeat decides which is the newest (R5). Without a secret the
 * two incarnations, 96 random bits, keep out who cannot read the nodes' traffic.
 *
 * This file does no I/O and knows no time. What does not fit is dropped without a word: anybody can send a datagram.
 */

import type { Incarnation, NodeId } from "../replica/configuration.ts";
import { ReplayWindow } from "./replay-window.ts";
import { type ClusterSecret, TAG_BYTES } from "./secret.ts";

/** IPv6 guarantees 1,280 bytes, and 48 of them are headers. */
export const DATAGRAM_BYTES_MAX = 1200;
/** Parts of one heartbeat; 16,384 shards take fewer. */
export const PARTS_MAX = 1024;
/** Heartbeats of one peer that are gathered at the same time; with more, the oldest is given up. */
const GATHERED_MAX = 4;
/** Datagrams of one peer by which one may be late. */
const WINDOW = 4096;

const MAGIC = 0x4842;
const FLAG_TAGGED = 1;
const FIXED_BYTES = 27;
/** Before the exclusive or. */
const LENGTH_BYTES = 4;
const AT = { version: 2, flags: 3, from: 4, to: 10, number: 16, part: 22, parts: 24, id: 26 };

/** Who sends to whom. */
export interface Route {
  readonly from: NodeId;
  readonly fromIncarnation: Incarnation;
  readonly toIncarnation: Incarnation;
  /** Wire version that both have agreed on. */
  readonly version: number;
}

export interface Datagram extends Route {
  readonly number: number;
  /** From 0; equal to `parts` for the exclusive or of them. */
  readonly part: number;
  readonly parts: number;
  readonly payload: Buffer;
  /** What the tag is for, and the tag; undefined if there is none. */
  readonly signed: { readonly bytes: Buffer; readonly tag: Buffer } | undefined;
}

/**
 * @param firstNumber of the first datagram; the others follow.
 * @param frame the heartbeat's bytes; they are copied.
 * @returns the datagrams, none if the heartbeat is longer than `PARTS_MAX` of them.
 */
export function encodeDatagrams(
  route: Route,
  firstNumber: number,
  frame: Buffer,
  secret: ClusterSecret | undefined,
): Buffer[] {
  const id = Buffer.from(route.from, "latin1");
  const headBytes = FIXED_BYTES + id.length;
  const tagBytes = secret === undefined ? 0 : TAG_BYTES;
  const room = DATAGRAM_BYTES_MAX - headBytes - tagBytes - LENGTH_BYTES;
  const parts = Math.max(1, Math.ceil(frame.length / room));
  if (parts > PARTS_MAX) return [];
  const payloads = Array.from({ length: parts }, (_, part) =>
    frame.subarray(part * room, (part + 1) * room),
  );
  if (parts > 1) payloads.push(exclusiveOr(payloads, frame.length, room));
  return payloads.map((payload, part) => {
    const datagram = Buffer.allocUnsafe(headBytes + payload.length + tagBytes);
    datagram.writeUInt16BE(MAGIC, 0);
    datagram[AT.version] = route.version;
    datagram[AT.flags] = secret === undefined ? 0 : FLAG_TAGGED;
    datagram.writeUIntLE(route.fromIncarnation, AT.from, 6);
    datagram.writeUIntLE(route.toIncarnation, AT.to, 6);
    datagram.writeUIntLE(firstNumber + part, AT.number, 6);
    datagram.writeUInt16LE(part, AT.part);
    datagram.writeUInt16LE(parts, AT.parts);
    datagram[AT.id] = id.length;
    id.copy(datagram, FIXED_BYTES);
    payload.copy(datagram, headBytes);
    if (secret !== undefined) {
      const signed = headBytes + payload.length;
      secret.tag(datagram.subarray(0, signed)).copy(datagram, signed);
    }
    return datagram;
  });
}

/** @returns what the bytes say, believed in nothing; undefined if they are no heartbeat's. */
export function decodeDatagram(bytes: Buffer): Datagram | undefined {
  if (bytes.length < FIXED_BYTES || bytes.length > DATAGRAM_BYTES_MAX) return undefined;
  if (bytes.readUInt16BE(0) !== MAGIC) return undefined;
  const flags = bytes.readUInt8(AT.flags);
  if ((flags & ~FLAG_TAGGED) !== 0) return undefined;
  const payloadStart = FIXED_BYTES + bytes.readUInt8(AT.id);
  const payloadEnd = bytes.length - ((flags & FLAG_TAGGED) === 0 ? 0 : TAG_BYTES);
  const part = bytes.readUInt16LE(AT.part);
  const parts = bytes.readUInt16LE(AT.parts);
  const number = bytes.readUIntLE(AT.number, 6);
  const partMax = parts > 1 ? parts : parts - 1;
  if (payloadEnd < payloadStart || part > partMax || parts > PARTS_MAX || number <= part) {
    return undefined;
  }
  return {
    version: bytes.readUInt8(AT.version),
    fromIncarnation: bytes.readUIntLE(AT.from, 6),
    toIncarnation: bytes.readUIntLE(AT.to, 6),
    number,
    part,
    parts,
    from: bytes.toString("latin1", FIXED_BYTES, payloadStart),
    payload: bytes.subarray(payloadStart, payloadEnd),
    signed:
      (flags & FLAG_TAGGED) === 0
        ? undefined
        : { bytes: bytes.subarray(0, payloadEnd), tag: bytes.subarray(payloadEnd) },
  };
}

/** A heartbeat of which some parts are here. */
interface Gathered {
  /** The last is the exclusive or. Empty once the heartbeat was whole. */
  parts: (Buffer | undefined)[];
  missing: number;
}

/** Puts one peer's heartbeats together, of one run of its process. Takes each datagram once. */
export class HeartbeatAssembler {
  readonly #window = new ReplayWindow(WINDOW);
  /** The newest, by the number of the first part. */
  readonly #gathered = new Map<number, Gathered>();

  /**
   * @param datagram of that peer and proven to be so, as far as there is a secret.
   * @returns the frame that is complete with it, if one is.
   */
  take(datagram: Datagram): Buffer | undefined {
    const { number, part, parts, payload } = datagram;
    if (!this.#window.take(number)) return undefined;
    if (parts === 1) return payload;
    const gathered = this.#gather(number - part, parts + 1);
    if (gathered?.parts.length !== parts + 1 || gathered.parts[part] !== undefined)
      return undefined;
    gathered.parts[part] = payload;
    gathered.missing -= 1;
    if (gathered.missing > 1) return undefined;
    const whole = restore(gathered.parts);
    gathered.parts = [];
    return whole;
  }

  /** @returns the heartbeat that begins with this number; undefined if it was given up. */
  #gather(first: number, count: number): Gathered | undefined {
    const known = this.#gathered.get(first);
    if (known !== undefined) return known;
    if (this.#gathered.size >= GATHERED_MAX) {
      const oldest = Math.min(...this.#gathered.keys());
      // What was given up must not come back in place of a newer one.
      if (first < oldest) return undefined;
      this.#gathered.delete(oldest);
    }
    const gathered = {
      parts: new Array<Buffer | undefined>(count).fill(undefined),
      missing: count,
    };
    this.#gathered.set(first, gathered);
    return gathered;
  }
}

/** @param parts all but the last `room` bytes long. */
function exclusiveOr(parts: readonly Buffer[], frameBytes: number, room: number): Buffer {
  const all = Buffer.alloc(LENGTH_BYTES + room);
  all.writeUInt32LE(frameBytes, 0);
  const sum = all.subarray(LENGTH_BYTES);
  for (const part of parts) addTo(sum, part);
  return all;
}

/** @param gathered all parts and their exclusive or, one of them missing. @returns the frame. */
function restore(gathered: readonly (Buffer | undefined)[]): Buffer | undefined {
  const last = gathered.at(-1);
  const parts = gathered.slice(0, -1);
  const lost = parts.indexOf(undefined);
  if (last !== undefined && lost !== -1) {
    if (last.length < LENGTH_BYTES) return undefined;
    const sum = Buffer.from(last.subarray(LENGTH_BYTES));
    for (const part of parts) if (part !== undefined) addTo(sum, part);
    const isFinal = lost === parts.length - 1;
    const bytes = isFinal ? last.readUInt32LE(0) - lost * sum.length : sum.length;
    parts[lost] = sum.subarray(0, Math.max(0, bytes));
  }
  return Buffer.concat(parts.filter((part) => part !== undefined));
}

function addTo(sum: Buffer, part: Buffer): void {
  const length = Math.min(sum.length, part.length);
  for (let i = 0; i < length; i++) sum[i] = (sum[i] ?? 0) ^ (part[i] ?? 0);
}

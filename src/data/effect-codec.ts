/** The bytes of effects, in messages and on disk. A change here is one of the wire's and of the store's format. */

import { unreachable } from "../kit/assert.ts";
import { type ByteReader, type ByteWriter, MalformedError } from "../kit/bytes.ts";
import type { Effect } from "./effect.ts";

const EFFECT = {
  set: 1,
  setUntil: 2,
  delete: 3,
  expire: 4,
  append: 5,
  overwrite: 6,
  flush: 7,
} as const;

export function writeEffect(writer: ByteWriter, effect: Effect): void {
  switch (effect.kind) {
    case "set":
      writer.u8(effect.expireAtMs === 0 ? EFFECT.set : EFFECT.setUntil);
      writer.string(effect.key);
      writer.string(effect.value);
      if (effect.expireAtMs !== 0) writer.f64(effect.expireAtMs);
      return;
    case "delete":
      writer.u8(EFFECT.delete);
      writer.string(effect.key);
      return;
    case "expire":
      writer.u8(EFFECT.expire);
      writer.string(effect.key);
      writer.f64(effect.expireAtMs);
      return;
    case "append":
      writer.u8(EFFECT.append);
      writer.string(effect.key);
      writer.string(effect.bytes);
      return;
    case "overwrite":
      writer.u8(EFFECT.overwrite);
      writer.string(effect.key);
      writer.varint(effect.offset);
      writer.string(effect.bytes);
      return;
    case "flush":
      writer.u8(EFFECT.flush);
      return;
    default:
      unreachable(effect);
  }
}

/** @throws MalformedError */
export function readEffect(reader: ByteReader): Effect {
  const tag = reader.u8();
  switch (tag) {
    case EFFECT.set:
      return { kind: "set", key: reader.string(), value: reader.string(), expireAtMs: 0 };
    case EFFECT.setUntil:
      return {
        kind: "set",
        key: reader.string(),
        value: reader.string(),
        expireAtMs: reader.time(),
      };
    case EFFECT.delete:
      return { kind: "delete", key: reader.string() };
    case EFFECT.expire:
      return { kind: "expire", key: reader.string(), expireAtMs: reader.time() };
    case EFFECT.append:
      return { kind: "append", key: reader.string(), bytes: reader.string() };
    case EFFECT.overwrite:
      return {
        kind: "overwrite",
        key: reader.string(),
        offset: reader.varint(),
        bytes: reader.string(),
      };
    case EFFECT.flush:
      return { kind: "flush" };
    default:
      throw new MalformedError(`no effect ${tag}`);
  }
}

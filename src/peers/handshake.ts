/**
 * The first thing that both sides of a connection between nodes send: who they are, whom they expect, and what they
 * speak. The dialler sends its hello, the other side answers with its own or with a refusal, and only then frames follow.
 *
 *     "HOTHOT" · length of the rest (2 bytes, little endian) · JSON
 */

import type { Incarnation, NodeId } from "../replica/configuration.ts";
import { malformed, type PeerErrorCode, PeerProtocolError } from "./errors.ts";

/** `heartbeat` carries heartbeats alone, so that bulk data never delays them; `data` all the rest, in order. */
export type Channel = "data" | "heartbeat";

export interface Hello {
  readonly clusterId: string;
  readonly nodeId: NodeId;
  /** Whom the sender believes to talk to. */
  readonly expects: NodeId;
  readonly incarnation: Incarnation;
  readonly channel: Channel;
  /** The range of wire versions that the sender speaks. */
  readonly wireMin: number;
  readonly wireMax: number;
  /** Set if the sender refuses the connection: why. */
  readonly refusal?: { readonly code: PeerErrorCode; readonly message: string };
}

const MAGIC = "HOTHOT";
const HEADER_BYTES = MAGIC.length + 2;
const JSON_BYTES_MAX = 4096;

export function encodeHello(hello: Hello): Buffer {
  const json = Buffer.from(JSON.stringify(hello), "utf8");
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + json.length);
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt16LE(json.length, MAGIC.length);
  json.copy(bytes, HEADER_BYTES);
  return bytes;
}

/** Gathers a hello from any split of the stream. */
export class HelloDecoder {
  #held: Buffer = Buffer.alloc(0);

  /**
   * @returns undefined as long as the hello is incomplete; then the hello, and the bytes that came after it.
   * @throws PeerProtocolError if this is no hello.
   */
  push(chunk: Buffer): { readonly hello: Hello; readonly rest: Buffer } | undefined {
    // Joined again at each chunk: harmless, because more than the bound is refused below.
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const seen = Math.min(this.#held.length, MAGIC.length);
    if (this.#held.toString("latin1", 0, seen) !== MAGIC.slice(0, seen)) {
      throw new PeerProtocolError("not-hothot", "the connection does not begin with a hello");
    }
    if (this.#held.length < HEADER_BYTES) return undefined;
    const bytes = this.#held.readUInt16LE(MAGIC.length);
    if (bytes > JSON_BYTES_MAX) throw malformed("a hello is too long");
    const end = HEADER_BYTES + bytes;
    if (this.#held.length < end) return undefined;
    const hello = parseHello(this.#held.toString("utf8", HEADER_BYTES, end));
    return { hello, rest: this.#held.subarray(end) };
  }
}

function parseHello(json: string): Hello {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw malformed("a hello is not JSON", error);
  }
  if (!isHello(value)) throw malformed("a hello lacks a field");
  return value;
}

function isHello(value: unknown): value is Hello {
  if (typeof value !== "object" || value === null) return false;
  const hello = value as Partial<Record<keyof Hello, unknown>>;
  const refusal = hello.refusal as Record<string, unknown> | null | undefined;
  return (
    typeof hello.clusterId === "string" &&
    typeof hello.nodeId === "string" &&
    typeof hello.expects === "string" &&
    Number.isSafeInteger(hello.incarnation) &&
    (hello.channel === "data" || hello.channel === "heartbeat") &&
    Number.isSafeInteger(hello.wireMin) &&
    Number.isSafeInteger(hello.wireMax) &&
    (refusal === undefined ||
      (typeof refusal === "object" &&
        refusal !== null &&
        typeof refusal["code"] === "string" &&
        typeof refusal["message"] === "string"))
  );
}

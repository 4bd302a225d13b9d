/**
 * The first words on a connection between nodes, before any frame:
 *
 *     dialler   ── hello ──────────▶ acceptor     who I am, whom I look for, what I speak, a nonce
 *     dialler   ◀── hello, confirm ── acceptor     the same of the other, and its proof
 *     dialler   ── confirm ────────▶ acceptor     the dialler's proof
 *
 * Either side says why in its next word if it refuses. A proof is an HMAC over both hellos, byte for byte: over the
 * cluster, both ids and incarnations, the versions and two nonces. Without a secret a confirm carries none.
 *
 * Each word is "HOTHOT", the length of the rest (2 bytes, little endian) and JSON. This shape holds for ever: a version
 * that wants to say more adds fields, and who does not know a field skips it.
 *
 * This file does no I/O and knows no time.
 */

import { randomBytes } from "node:crypto";
import type { Incarnation, NodeId } from "../replica/configuration.ts";
import type { WireVersions } from "./codec.ts";
import { malformed, type PeerErrorCode, PeerProtocolError } from "./errors.ts";
import type { ClusterSecret, Role } from "./secret.ts";

/** `heartbeat` carries heartbeats alone, where they go over TCP; `data` all the rest, in order. */
export type Channel = "data" | "heartbeat";

export interface Refusal {
  readonly code: PeerErrorCode;
  readonly message: string;
}

export interface Hello {
  readonly kind: "hello";
  readonly clusterId: string;
  readonly nodeId: NodeId;
  /** Whom the sender believes to talk to. */
  readonly expects: NodeId;
  readonly incarnation: Incarnation;
  readonly channel: Channel;
  /** The range of wire versions that the sender speaks. */
  readonly wireMin: number;
  readonly wireMax: number;
  /** Names of what the sender can do beyond its version. */
  readonly features: readonly string[];
  /** Random, in hexadecimal: makes each proof good for one connection only. */
  readonly nonce: string;
  /** The sender has a cluster secret, and talks only to those who prove the same. */
  readonly hasSecret: boolean;
  /** The sender's wall clock, ms since 1970: compared for the operator, never relied on. */
  readonly wallMs: number;
  /** Set if the sender refuses the connection: why. */
  readonly refusal?: Refusal;
}

export interface Confirm {
  readonly kind: "confirm";
  /** In hexadecimal, if there is a secret. */
  readonly proof?: string;
  readonly refusal?: Refusal;
}

/** What this side says of itself. */
export interface Identity {
  readonly clusterId: string;
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly versions: WireVersions;
  readonly features: readonly string[];
  readonly secret?: ClusterSecret;
}

/** What both sides know after a handshake. */
export interface Greeted {
  readonly hello: Hello;
  /** The highest wire version that both speak. */
  readonly version: number;
  /** The features that both have, sorted. */
  readonly features: readonly string[];
  /** Bytes that came after the handshake. */
  readonly rest: Buffer;
}

const MAGIC = "HOTHOT";
const HEADER_BYTES = MAGIC.length + 2;
const JSON_BYTES_MAX = 4096;
const NONCE_BYTES = 32;
const FEATURES_MAX = 64;

/** @returns the bytes of one word. */
export function encodeGreeting(word: Hello | Confirm): Buffer {
  const json = Buffer.from(JSON.stringify(word), "utf8");
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + json.length);
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt16LE(json.length, MAGIC.length);
  json.copy(bytes, HEADER_BYTES);
  return bytes;
}

/** Gathers the words of a handshake from any split of the stream. */
export class GreetingDecoder {
  #held: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): void {
    // Joined again at each chunk: harmless, because of what is held beyond one word nothing is read before it is taken.
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
  }

  /**
   * @returns the next word and its bytes, or undefined while it is incomplete.
   * @throws PeerProtocolError if these are no such words.
   */
  next(): { readonly word: Hello | Confirm; readonly bytes: Buffer } | undefined {
    const held = this.#held;
    const seen = Math.min(held.length, MAGIC.length);
    if (held.toString("latin1", 0, seen) !== MAGIC.slice(0, seen)) {
      throw new PeerProtocolError("not-hothot", "the connection does not begin with a hello");
    }
    if (held.length < HEADER_BYTES) return undefined;
    const length = held.readUInt16LE(MAGIC.length);
    if (length > JSON_BYTES_MAX) throw malformed("a hello is too long");
    const end = HEADER_BYTES + length;
    if (held.length < end) return undefined;
    this.#held = held.subarray(end);
    const bytes = held.subarray(0, end);
    return { word: parseWord(bytes.toString("utf8", HEADER_BYTES)), bytes };
  }

  /** What came after the words that were taken. */
  rest(): Buffer {
    return this.#held;
  }
}

export interface HandshakeOptions {
  readonly role: Role;
  readonly identity: Identity;
  /** Of the dialler: whom it means to reach, and for what. */
  readonly dials?: { readonly node: NodeId; readonly channel: Channel };
  /** This node's wall clock, ms since 1970. */
  readonly wallMs: number;
  /**
   * Of the acceptor: called with a hello that is right by itself.
   * @returns false to say nothing more, neither yes nor no.
   * @throws PeerProtocolError to refuse it.
   */
  readonly admit?: (hello: Hello) => boolean;
}

/**
 * One side of one handshake.
 *
 *     dialler:   begin ─▶ hello sent ──hello, confirm──▶ done
 *     acceptor:  waits ──hello──▶ hello, confirm sent ──confirm──▶ done
 */
export class Handshake {
  readonly #options: HandshakeOptions;
  readonly #decoder = new GreetingDecoder();
  #ownHello: Buffer | undefined;
  #peer: { readonly hello: Hello; readonly bytes: Buffer } | undefined;
  #wasRefused = false;
  /** Nothing that comes now counts: it was refused, is not answered, or is done. */
  #isOver = false;

  constructor(options: HandshakeOptions) {
    this.#options = options;
  }

  /** What the peer said of itself, once it has; not proven before the end. */
  get peer(): Hello | undefined {
    return this.#peer?.hello;
  }

  /** @returns what the dialler says first. */
  begin(): Buffer {
    const { dials } = this.#options;
    if (dials === undefined) throw malformed("only a dialler begins");
    this.#ownHello = encodeGreeting(this.#hello(dials.node, dials.channel));
    return this.#ownHello;
  }

  /**
   * @param chunk the next bytes of the stream.
   * @returns what is to be sent now, and the result once it is there.
   * @throws PeerProtocolError to end the connection, after sending what `refuse` makes of it.
   */
  push(chunk: Buffer): { readonly send: readonly Buffer[]; readonly done: Greeted | undefined } {
    if (this.#isOver) return { send: [], done: undefined };
    try {
      return this.#push(chunk);
    } catch (error) {
      // A hello that failed must not be confirmed by what comes after it.
      this.#isOver = true;
      throw error;
    }
  }

  #push(chunk: Buffer): { readonly send: readonly Buffer[]; readonly done: Greeted | undefined } {
    const send: Buffer[] = [];
    this.#decoder.push(chunk);
    for (let next = this.#decoder.next(); next !== undefined; next = this.#decoder.next()) {
      const { word, bytes } = next;
      if (word.refusal !== undefined) {
        if (word.kind === "hello") this.#peer ??= { hello: word, bytes };
        this.#wasRefused = true;
        const { code, message } = word.refusal;
        throw new PeerProtocolError(code, `refused by the peer: ${message}`);
      }
      if (this.#peer === undefined) {
        if (word.kind !== "hello") throw malformed("a confirm came before a hello");
        this.#peer = { hello: word, bytes };
        this.#check(word);
        if (this.#options.role === "dialler") continue;
        if (this.#options.admit?.(word) === false) {
          this.#isOver = true;
          break;
        }
        this.#ownHello = encodeGreeting(this.#hello(word.nodeId, word.channel));
        send.push(this.#ownHello, this.#confirm());
        continue;
      }
      if (word.kind !== "confirm") throw malformed("a second hello");
      this.#checkProof(this.#peer.hello, word);
      if (this.#options.role === "dialler") send.push(this.#confirm());
      this.#isOver = true;
      return { send, done: this.#greeted(this.#peer.hello) };
    }
    return { send, done: undefined };
  }

  /** @returns what tells the peer of this refusal; undefined if it has refused first, or is not known to understand it. */
  refuse({ code, message }: PeerProtocolError): Buffer | undefined {
    if (this.#wasRefused || this.#peer === undefined) return undefined;
    const refusal: Refusal = { code, message };
    if (this.#ownHello !== undefined) return encodeGreeting({ kind: "confirm", refusal });
    const { nodeId, channel } = this.#peer.hello;
    return encodeGreeting({ ...this.#hello(nodeId, channel), refusal });
  }

  #hello(expects: NodeId, channel: Channel): Hello {
    const { clusterId, nodeId, incarnation, versions, features, secret } = this.#options.identity;
    return {
      kind: "hello",
      clusterId,
      nodeId,
      expects,
      incarnation,
      channel,
      wireMin: versions.lowest,
      wireMax: versions.highest,
      features,
      nonce: randomBytes(NONCE_BYTES).toString("hex"),
      hasSecret: secret !== undefined,
      wallMs: this.#options.wallMs,
    };
  }

  #confirm(): Buffer {
    const { secret } = this.#options.identity;
    if (secret === undefined) return encodeGreeting({ kind: "confirm" });
    const proof = secret.prove(this.#options.role, this.#transcript());
    return encodeGreeting({ kind: "confirm", proof: proof.toString("hex") });
  }

  /** The dialler's hello first, so that both sides have the same. */
  #transcript(): readonly Buffer[] {
    const own = this.#ownHello ?? Buffer.alloc(0);
    const peer = this.#peer?.bytes ?? Buffer.alloc(0);
    return this.#options.role === "dialler" ? [own, peer] : [peer, own];
  }

  #greeted(hello: Hello): Greeted {
    const { versions, features } = this.#options.identity;
    return {
      hello,
      version: Math.min(versions.highest, hello.wireMax),
      features: features.filter((name) => hello.features.includes(name)).sort(),
      rest: this.#decoder.rest(),
    };
  }

  /** @throws PeerProtocolError if the sender of this hello is not the peer meant, or means another than this node. */
  #check(hello: Hello): void {
    const { clusterId, nodeId, incarnation, versions, secret } = this.#options.identity;
    const { dials } = this.#options;
    const peer = hello.nodeId;
    if (hello.clusterId !== clusterId) {
      throw new PeerProtocolError(
        "wrong-cluster",
        `${peer} belongs to cluster ${hello.clusterId}, ${nodeId} to ${clusterId}; ` +
          "one of them has a wrong address, or the wrong register: correct it there",
      );
    }
    if (peer === nodeId && hello.incarnation === incarnation) {
      const whose = dials === undefined ? hello.expects : dials.node;
      throw new PeerProtocolError(
        "self",
        `the address of ${whose} leads back to ${nodeId} itself; correct it in the configuration`,
      );
    }
    if (peer === nodeId) {
      throw new PeerProtocolError(
        "duplicate-node",
        `another process runs as ${nodeId} (incarnation ${hello.incarnation}, this one is ` +
          `${incarnation}); stop one of them, or start it with its own --id`,
      );
    }
    if (hello.expects !== nodeId) {
      throw new PeerProtocolError(
        "wrong-node",
        `${peer} looks for ${hello.expects} and found ${nodeId}; correct the address of ` +
          `${hello.expects} in the configuration`,
      );
    }
    if (dials !== undefined && (peer !== dials.node || hello.channel !== dials.channel)) {
      throw new PeerProtocolError(
        "wrong-node",
        `${peer} answers at the address of ${dials.node}; correct the address of ${dials.node} ` +
          "in the configuration",
      );
    }
    if (hello.wireMax < versions.lowest || hello.wireMin > versions.highest) {
      throw new PeerProtocolError(
        "version",
        `${peer} speaks wire versions ${hello.wireMin} to ${hello.wireMax}, ${nodeId} ` +
          `${versions.lowest} to ${versions.highest}; upgrade one release at a time`,
      );
    }
    if (hello.hasSecret !== (secret !== undefined)) {
      const [knows, lacks] = hello.hasSecret ? [peer, nodeId] : [nodeId, peer];
      throw new PeerProtocolError(
        "secret",
        `${knows} has a cluster secret, ${lacks} has none; start ${lacks} with the same --secret-file`,
      );
    }
  }

  /** @throws PeerProtocolError if the peer does not know the secret. */
  #checkProof(hello: Hello, confirm: Confirm): void {
    const { secret, nodeId } = this.#options.identity;
    if (secret === undefined) return;
    const role: Role = this.#options.role === "dialler" ? "acceptor" : "dialler";
    const proof = Buffer.from(confirm.proof ?? "", "hex");
    if (secret.isProof(role, this.#transcript(), proof)) return;
    throw new PeerProtocolError(
      "secret",
      `${hello.nodeId} has another cluster secret than ${nodeId}; ` +
        "give both the same --secret-file, and start them again",
    );
  }
}

function parseWord(json: string): Hello | Confirm {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw malformed("a hello is not JSON", error);
  }
  if (!isHello(value) && !isConfirm(value)) throw malformed("a hello lacks a field");
  return value;
}

function isHello(value: unknown): value is Hello {
  if (typeof value !== "object" || value === null) return false;
  const hello = value as Partial<Record<keyof Hello, unknown>>;
  return (
    hello.kind === "hello" &&
    typeof hello.clusterId === "string" &&
    typeof hello.nodeId === "string" &&
    typeof hello.expects === "string" &&
    isCount(hello.incarnation) &&
    (hello.channel === "data" || hello.channel === "heartbeat") &&
    isCount(hello.wireMin) &&
    isCount(hello.wireMax) &&
    Array.isArray(hello.features) &&
    hello.features.length <= FEATURES_MAX &&
    hello.features.every((name) => typeof name === "string") &&
    typeof hello.nonce === "string" &&
    typeof hello.hasSecret === "boolean" &&
    Number.isFinite(hello.wallMs) &&
    isRefusal(hello.refusal)
  );
}

function isConfirm(value: unknown): value is Confirm {
  if (typeof value !== "object" || value === null) return false;
  const confirm = value as Partial<Record<keyof Confirm, unknown>>;
  return (
    confirm.kind === "confirm" &&
    (confirm.proof === undefined || typeof confirm.proof === "string") &&
    isRefusal(confirm.refusal)
  );
}

function isRefusal(value: unknown): boolean {
  if (value === undefined) return true;
  if (typeof value !== "object" || value === null) return false;
  const refusal = value as Partial<Record<keyof Refusal, unknown>>;
  return typeof refusal.code === "string" && typeof refusal.message === "string";
}

/** Of incarnations and versions. */
function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/**
 * The cluster's secret, as keys. Each use has a key of its own, so that nothing that is said for one can be shown for
 * another. The secret itself is not kept, and nothing of it may be logged.
 */

import {
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  timingSafeEqual,
} from "node:crypto";

/** Least and greatest length of a secret, bytes. */
export const SECRET_BYTES_MIN = 32;
export const SECRET_BYTES_MAX = 4096;
const HASH = "sha256";
const HASH_BYTES = 32;
/** What a heartbeat carries of its HMAC, bytes: 128 bits. */
export const TAG_BYTES = 16;

/** Which end of a connection: who dialled it, or who was dialled. */
export type Role = "dialler" | "acceptor";

/** Proves, and checks, that both ends know one secret. */
export class ClusterSecret {
  readonly #proofKeys: Readonly<Record<Role, KeyObject>>;
  readonly #heartbeatKey: KeyObject;

  /**
   * @param secret at least `SECRET_BYTES_MIN` random bytes, the same at all nodes of the cluster.
   * @param clusterId two clusters that were given one secret still do not understand each other.
   * @throws RangeError if the secret is too short or too long.
   */
  constructor(secret: Buffer, clusterId: string) {
    if (secret.length < SECRET_BYTES_MIN || secret.length > SECRET_BYTES_MAX) {
      throw new RangeError(
        `a cluster secret has ${SECRET_BYTES_MIN} to ${SECRET_BYTES_MAX} bytes, not ${secret.length}`,
      );
    }
    const derive = (use: string): KeyObject =>
      createSecretKey(
        Buffer.from(hkdfSync(HASH, secret, clusterId, `hothot peers: ${use}`, HASH_BYTES)),
      );
    this.#proofKeys = { dialler: derive("dialler"), acceptor: derive("acceptor") };
    this.#heartbeatKey = derive("heartbeat");
  }

  /**
   * What this role shows for the handshake so far. The keys differ by role: else an end that knows nothing could return
   * the other's own proof.
   */
  prove(role: Role, transcript: readonly Buffer[]): Buffer {
    const hmac = createHmac(HASH, this.#proofKeys[role]);
    for (const part of transcript) hmac.update(part);
    return hmac.digest();
  }

  /** @returns whether the proof is this role's for that transcript; takes the same time wherever it differs. */
  isProof(role: Role, transcript: readonly Buffer[], proof: Buffer): boolean {
    return isEqual(this.prove(role, transcript), proof);
  }

  /** @returns the first `TAG_BYTES` of the HMAC of a heartbeat's bytes. */
  tag(bytes: Buffer): Buffer {
    return createHmac(HASH, this.#heartbeatKey).update(bytes).digest().subarray(0, TAG_BYTES);
  }

  /** @returns whether the tag is that of the bytes; takes the same time wherever it differs. */
  isTag(bytes: Buffer, tag: Buffer): boolean {
    return isEqual(this.tag(bytes), tag);
  }
}

function isEqual(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

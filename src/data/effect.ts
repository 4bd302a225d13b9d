/** Deterministic changes that the primary's commands turn into, and that every replica applies (R1). */

/**
 * Longest value, in bytes: the longest string of the JavaScript engine, 24 bytes short of Redis's 512 MB. A writer checks
 * against it before it writes.
 */
export const VALUE_BYTES_MAX = 0x1fff_ffe8;

/** An effect names one key and reads no other. Times are absolute, ms since 1970; 0 means that the key has no end. */
export type Effect =
  | {
      readonly kind: "set";
      readonly key: string;
      readonly value: string;
      readonly expireAtMs: number;
    }
  | { readonly kind: "delete"; readonly key: string }
  | { readonly kind: "expire"; readonly key: string; readonly expireAtMs: number }
  | { readonly kind: "append"; readonly key: string; readonly bytes: string }
  | {
      readonly kind: "overwrite";
      readonly key: string;
      readonly offset: number;
      readonly bytes: string;
    }
  | { readonly kind: "flush" };

/** One key of a copied slot with all that belongs to it. */
export interface KeyRecord {
  readonly key: string;
  readonly value: string;
  readonly expireAtMs: number;
  /** The seq of the entry that wrote it last. */
  readonly seq: number;
}

/** The keys of some whole slots. */
export type SlotRecords = readonly KeyRecord[];

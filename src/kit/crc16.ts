/** Redis Cluster's key hash: CRC-16/XMODEM (polynomial 0x1021, start 0, nothing reflected), and the slots made of it. */

const TABLE = new Uint16Array(256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  TABLE[byte] = crc;
}

const SLOT_MASK = 16_383;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;

/**
 * @param text a binary string.
 * @param from index of the first byte that counts.
 * @param to index after the last byte that counts.
 * @returns the checksum, 0 to 65535.
 */
export function crc16(text: string, from = 0, to = text.length): number {
  let crc = 0;
  for (let i = from; i < to; i++) {
    crc = ((crc << 8) & 0xffff) ^ (TABLE[(crc >>> 8) ^ (text.charCodeAt(i) & 0xff)] as number);
  }
  return crc;
}

/**
 * The slot of a key. If the key holds a `{`, and a `}` later on with something in between, only what is between the first
 * `{` and the first `}` after it is hashed, so that clients can put keys that belong together into one slot.
 * @param key a binary string.
 * @returns 0 to 16383.
 */
export function slotOf(key: string): number {
  let crc = 0;
  let isTagSought = true;
  for (let i = 0; i < key.length; i++) {
    const code = key.charCodeAt(i);
    if (code === OPENING_BRACE && isTagSought) {
      const end = key.indexOf("}", i + 1);
      if (end > i + 1) return crc16(key, i + 1, end) & SLOT_MASK;
      isTagSought = false;
    }
    crc = ((crc << 8) & 0xffff) ^ (TABLE[(crc >>> 8) ^ (code & 0xff)] as number);
  }
  return crc & SLOT_MASK;
}

/**
 * The slot of a key as `slotOf` tells it, of bytes.
 * @param key what holds the key, from `start` to before `end`.
 * @returns 0 to 16383.
 */
export function slotOfBytes(key: Uint8Array, start: number, end: number): number {
  let crc = 0;
  let isTagSought = true;
  for (let i = start; i < end; i++) {
    const byte = key[i] as number;
    if (byte === OPENING_BRACE && isTagSought) {
      let close = i + 1;
      while (close < end && key[close] !== CLOSING_BRACE) close++;
      if (close > i + 1 && close < end) return crc16OfBytes(key, i + 1, close) & SLOT_MASK;
      isTagSought = false;
    }
    crc = ((crc << 8) & 0xffff) ^ (TABLE[(crc >>> 8) ^ byte] as number);
  }
  return crc & SLOT_MASK;
}

function crc16OfBytes(bytes: Uint8Array, from: number, to: number): number {
  let crc = 0;
  for (let i = from; i < to; i++) {
    crc = ((crc << 8) & 0xffff) ^ (TABLE[(crc >>> 8) ^ (bytes[i] as number)] as number);
  }
  return crc;
}

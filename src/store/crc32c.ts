/** The checksum that LevelDB's files carry: CRC-32 with Castagnoli's polynomial. Node.js has only the other one built in. */

const POLYNOMIAL = 0x82f6_3b78;
/** Eight tables, so that eight bytes are taken a step. */
const TABLES = Array.from({ length: 8 }, () => new Uint32Array(256));

for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ POLYNOMIAL;
  table(0)[byte] = crc >>> 0;
}
for (let step = 1; step < 8; step++) {
  for (let byte = 0; byte < 256; byte++) {
    const before = at(table(step - 1), byte);
    table(step)[byte] = (before >>> 8) ^ at(table(0), before & 0xff);
  }
}

const [T0, T1, T2, T3, T4, T5, T6, T7] = [0, 1, 2, 3, 4, 5, 6, 7].map(table) as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
];

/** @returns the checksum of `bytes` from `start` to before `end`, 0 to 2^32 - 1. */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0xffff_ffff;
  let i = start;
  for (; i + 8 <= end; i += 8) {
    crc ^=
      at(bytes, i) | (at(bytes, i + 1) << 8) | (at(bytes, i + 2) << 16) | (at(bytes, i + 3) << 24);
    crc =
      at(T7, crc & 0xff) ^
      at(T6, (crc >>> 8) & 0xff) ^
      at(T5, (crc >>> 16) & 0xff) ^
      at(T4, crc >>> 24) ^
      at(T3, at(bytes, i + 4)) ^
      at(T2, at(bytes, i + 5)) ^
      at(T1, at(bytes, i + 6)) ^
      at(T0, at(bytes, i + 7));
  }
  for (; i < end; i++) crc = (crc >>> 8) ^ at(T0, (crc ^ at(bytes, i)) & 0xff);
  return (crc ^ 0xffff_ffff) >>> 0;
}

function table(step: number): Uint32Array {
  return TABLES[step] as Uint32Array;
}

function at(array: Uint8Array | Uint32Array, index: number): number {
  return array[index] as number;
}

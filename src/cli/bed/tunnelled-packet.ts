/** Packets inside VXLAN datagrams (RFC 7348, section 5), as a relay has to treat them. Pure. */

/** Lengths of headers. Bytes. */
const VXLAN_BYTES = 8;
const ETHERNET_BYTES = 14;
const IPV4_BYTES_MIN = 20;

/** Places in an Ethernet frame, and in the IPv4 header behind it. */
const SOURCE_MAC_AT = 6;
const ETHERTYPE_AT = 12;
const IPV4 = 0x0800;
/** Locally administered hardware addresses: of every tunnel's end, as `ip link` takes it, and of the relay. */
export const TUNNEL_MAC = "02:00:00:00:00:01";
const RELAY_MAC = Buffer.from("020000000002", "hex");
const TOTAL_LENGTH_AT = 2;
const FRAGMENT_AT = 6;
const PROTOCOL_AT = 9;
const SOURCE_AT = 12;
const DESTINATION_AT = 16;

/** Where the protocols over IPv4 have their checksums. */
const CHECKSUM_AT = new Map([
  [6, 16],
  [17, 6],
]);

/**
 * Makes a packet ready for its next hop, in place. The sender's hardware address becomes another: all tunnels' ends have one and
 * the same, so that nobody has to ask for them, and a device takes no frame that bears its own as the sender's. The checksum is
 * computed, because a kernel leaves that to a device, and a tunnel's end is none.
 * @param datagram VXLAN header, Ethernet frame.
 * @returns the IPv4 address that it goes to; undefined if it is no whole IPv4 packet.
 */
export function nextHop(datagram: Buffer): string | undefined {
  const frame = datagram.subarray(VXLAN_BYTES);
  if (frame.length < ETHERNET_BYTES + IPV4_BYTES_MIN) return undefined;
  if (frame.readUInt16BE(ETHERTYPE_AT) !== IPV4) return undefined;
  const packet = frame.subarray(ETHERNET_BYTES);
  const headerBytes = (packet.readUInt8(0) & 0xf) * 4;
  const totalBytes = packet.readUInt16BE(TOTAL_LENGTH_AT);
  if (headerBytes < IPV4_BYTES_MIN || totalBytes < headerBytes || totalBytes > packet.length) {
    return undefined;
  }
  RELAY_MAC.copy(frame, SOURCE_MAC_AT);
  writeChecksum(packet, headerBytes, totalBytes);
  return [...packet.subarray(DESTINATION_AT, DESTINATION_AT + 4)].join(".");
}

/** RFC 793, section 3.1, and RFC 768. Fragments have no checksum of their own. */
function writeChecksum(packet: Buffer, headerBytes: number, totalBytes: number): void {
  const protocol = packet.readUInt8(PROTOCOL_AT);
  const at = CHECKSUM_AT.get(protocol);
  const isFragment = (packet.readUInt16BE(FRAGMENT_AT) & 0x3fff) !== 0;
  const payload = packet.subarray(headerBytes, totalBytes);
  if (at === undefined || isFragment || payload.length < at + 2) return;
  payload.writeUInt16BE(0, at);
  const pseudo = packet.subarray(SOURCE_AT, DESTINATION_AT + 4);
  const sum = ~fold(sumOf(pseudo) + protocol + payload.length + sumOf(payload)) & 0xffff;
  payload.writeUInt16BE(sum === 0 ? 0xffff : sum, at);
}

/** @returns the sum of the bytes as words of 16 bits, the last filled up with zero. */
function sumOf(bytes: Buffer): number {
  let sum = 0;
  const even = bytes.length & ~1;
  for (let at = 0; at < even; at += 2) sum += bytes.readUInt16BE(at);
  return even < bytes.length ? sum + bytes.readUInt8(even) * 256 : sum;
}

/** @returns the sum in one's complement of 16 bits. */
function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return folded;
}

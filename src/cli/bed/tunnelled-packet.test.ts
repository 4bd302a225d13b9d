import assert from "node:assert/strict";
import { test } from "node:test";
import { nextHop, TUNNEL_MAC } from "./tunnelled-packet.ts";

const TCP = 6;
const UDP = 17;
const CHECKSUM_AT = { [TCP]: 16, [UDP]: 6 } as const;

/** A VXLAN datagram with a packet from 10.213.7.1 to 10.213.7.2. */
function datagram(protocol: typeof TCP | typeof UDP, payload: Buffer, fragment = 0): Buffer {
  const mac = Buffer.from(TUNNEL_MAC.split(":").map((byte) => Number.parseInt(byte, 16)));
  const ip = Buffer.alloc(20);
  ip.writeUInt8(0x45, 0);
  ip.writeUInt16BE(20 + payload.length, 2);
  ip.writeUInt16BE(fragment, 6);
  ip.writeUInt8(protocol, 9);
  ip.set([10, 213, 7, 1], 12);
  ip.set([10, 213, 7, 2], 16);
  return Buffer.concat([Buffer.alloc(8), mac, mac, Buffer.from([8, 0]), ip, payload]);
}

/** The sum over pseudo header and payload, which is all ones if the checksum is right; bit by bit, unlike what is tested. */
function verify(packet: Buffer, protocol: number): number {
  const ip = packet.subarray(22);
  const payload = ip.subarray(20, ip.readUInt16BE(2));
  const pseudo = Buffer.from([0, protocol, payload.length >> 8, payload.length & 0xff]);
  const all = [...ip.subarray(12, 20), ...pseudo, ...payload];
  if (all.length % 2 === 1) all.push(0);
  let sum = 0;
  for (let at = 0; at < all.length; at += 2) {
    sum += (all[at] ?? 0) * 256 + (all[at + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

test("a packet goes where it is addressed, under another sender's hardware address, its checksum right", () => {
  for (const protocol of [TCP, UDP] as const) {
    for (const length of [20, 21, 400, 1401]) {
      const payload = Buffer.from(Array.from({ length }, (_, at) => (at * 31 + length) & 0xff));
      const packet = datagram(protocol, payload);
      assert.equal(nextHop(packet), "10.213.7.2");
      assert.equal(verify(packet, protocol), 0xffff, `${protocol}, ${length} bytes`);
      assert.notDeepEqual(packet.subarray(14, 20), packet.subarray(8, 14));
      const at = 42 + CHECKSUM_AT[protocol];
      const others = (bytes: Buffer): Buffer =>
        Buffer.concat([bytes.subarray(42, at), bytes.subarray(at + 2)]);
      assert.deepEqual(others(packet), others(datagram(protocol, payload)));
    }
  }
});

test("a fragment has no checksum of its own", () => {
  const payload = Buffer.alloc(40, 7);
  const packet = datagram(UDP, payload, 0x2000);
  assert.equal(nextHop(packet), "10.213.7.2");
  assert.deepEqual(packet.subarray(42), payload);
});

test("what is no whole IPv4 packet goes nowhere", () => {
  const whole = datagram(TCP, Buffer.alloc(20));
  for (let length = 0; length < whole.length; length++) {
    assert.equal(nextHop(Buffer.from(whole.subarray(0, length))), undefined, `${length} bytes`);
  }
  const other = Buffer.from(whole);
  other.writeUInt16BE(0x86dd, 20);
  assert.equal(nextHop(other), undefined);
  const short = Buffer.from(whole);
  short.writeUInt8(0x44, 22);
  assert.equal(nextHop(short), undefined);
});

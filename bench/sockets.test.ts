import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesSince, connectionBytes } from "./sockets.ts";

/** Servers 1 and 2 are linked; 3 is a client of server 1. The state column is absent where one state was asked for. */
const BEFORE = `
0 0 127.0.0.1:17001 127.0.0.1:5000 users:(("node",pid=1,fd=20)) bbr bytes_sent:900 bytes_retrans:100 bytes_acked:800
0 0 127.0.0.1:5000 127.0.0.1:17001 users:(("node",pid=2,fd=21)) bbr bytes_sent:50 bytes_acked:50
0 0 127.0.0.1:7001 127.0.0.1:6000 users:(("node",pid=1,fd=22)) bbr bytes_sent:7000 bytes_acked:7000
0 0 127.0.0.1:6000 127.0.0.1:7001 users:(("node",pid=3,fd=22)) bbr bytes_sent:7000 bytes_acked:7000
0 0 127.0.0.1:22 127.0.0.1:6001 bbr
`;
const AFTER = `${BEFORE.replace("bytes_sent:900", "bytes_sent:1900")}
0 0 127.0.0.1:5001 127.0.0.1:17001 users:(("node",pid=2,fd=23)) bbr bytes_sent:30
0 0 127.0.0.1:17001 127.0.0.1:5001 users:(("node",pid=1,fd=23)) bbr bytes_sent:4
`;

test("only what servers send to each other counts, without what was sent twice", () => {
  const servers = new Set([1, 2]);
  const before = connectionBytes(BEFORE, servers);
  assert.deepEqual([...before.values()].sort(), [50, 800].sort());
  assert.equal(bytesSince(before, connectionBytes(AFTER, servers)), 1_000 + 30 + 4);
});

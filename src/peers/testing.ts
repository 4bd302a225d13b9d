/** For tests of the links: pairs of them in one process, on ports that the system chooses. */

import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "../kit/assert.ts";
import type { Heartbeat, Message } from "../replica/messages.ts";
import type { Hello } from "./handshake.ts";
import { type LinkLimits, Links, type LinksOptions } from "./links.ts";

const PATIENCE_MS = 20_000;

/** One side of a test: links, and all that its handler and log were told. */
export interface Side {
  readonly links: Links;
  readonly host: string;
  readonly events: string[];
  readonly received: Message[];
  /** Codes of refusals. */
  readonly refusals: string[];
  /** Whole texts of warnings and errors. */
  readonly logged: string[];
  port: number;
}

const sides: Side[] = [];

/** To be called after each test. */
export async function closeSides(): Promise<void> {
  await Promise.all(sides.splice(0).map((side) => side.links.close()));
}

export function createSide(nodeId: string, options: Partial<LinksOptions> = {}): Side {
  const events: string[] = [];
  const received: Message[] = [];
  const refusals: string[] = [];
  const logged: string[] = [];
  const host = options.host ?? "127.0.0.1";
  const links = new Links({
    nodeId,
    clusterId: "c1",
    incarnation: 7,
    host,
    port: 0,
    peers: [],
    heartbeatChannel: "tcp",
    handler: {
      connected: (peer, incarnation) => events.push(`+${peer}@${incarnation}`),
      disconnected: (peer) => events.push(`-${peer}`),
      received: (_from, message) => received.push(message),
      beginBurst: () => undefined,
      endBurst: () => undefined,
    },
    log: (level, text, fields) => {
      if (level === "warn" || level === "error") logged.push(text);
      if (text.includes("refused") || text.includes("malformed")) {
        refusals.push(String(fields["code"]));
      }
    },
    ...options,
  });
  const side: Side = { links, host, events, received, refusals, logged, port: 0 };
  sides.push(side);
  return side;
}

/** Lets both listen and gives each the other's address. */
export async function join(a: Side, aId: string, b: Side, bId: string): Promise<void> {
  a.port = await a.links.listen();
  b.port = await b.links.listen();
  b.links.setPeers([{ id: aId, host: a.host, port: a.port }]);
  a.links.setPeers([{ id: bId, host: b.host, port: b.port }]);
}

export async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!condition()) {
    assert(performance.now() < end, `waited in vain: ${what}`);
    await sleep(5);
  }
}

/** Of links whose heartbeats go over TCP: both connections are up. */
export function isUp(side: Side): boolean {
  return side.links.status().every((status) => status.data && status.heartbeat);
}

/** The data connection is up. */
export function isLinked(side: Side): boolean {
  const status = side.links.status();
  return status.length > 0 && status.every(({ data }) => data);
}

/** Two sides, n1 of incarnation 11 and n2 of 22, that are linked. */
export async function pair(
  limits: Partial<LinkLimits> = {},
  options: Partial<LinksOptions> = {},
): Promise<[Side, Side]> {
  const a = createSide("n1", { limits, incarnation: 11, ...options });
  const b = createSide("n2", { limits, incarnation: 22, ...options });
  await join(a, "n1", b, "n2");
  const isReady = options.heartbeatChannel === "udp" ? isLinked : isUp;
  await until("both are up", () => isReady(a) && isReady(b));
  return [a, b];
}

export const ack = (seq: number): Message => ({
  kind: "acks",
  acks: [{ shard: 0, epoch: 1, seq }],
});

export const beat: Heartbeat = {
  kind: "heartbeat",
  fromIncarnation: 1,
  toIncarnation: 2,
  sentAtMs: 1,
  echoMs: -1,
  wallMs: 3,
  version: 4,
  shards: [],
};

export const helloOf = (nodeId: string, expects: string): Hello => ({
  kind: "hello",
  clusterId: "c1",
  nodeId,
  expects,
  incarnation: 5,
  channel: "data",
  wireMin: 1,
  wireMax: 1,
  features: [],
  nonce: "00",
  hasSecret: false,
  wallMs: Date.now(),
});

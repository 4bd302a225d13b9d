/**
 * Tells the operator of a peer whose clock differs. Nothing relies on clocks that agree (R11), but expiry times are read off
 * one clock and then off another.
 */

import type { NodeId } from "../replica/configuration.ts";
import type { Hello } from "./handshake.ts";
import type { LinkLog } from "./link-options.ts";
import type { Peer } from "./peer.ts";

/** Clocks that differ by more are worth a word to the operator, ms. */
const CLOCKS_MS_MAX = 5000;

/** This node, its wall clock, ms since 1970, and where its operator reads. */
export interface OwnClock {
  readonly nodeId: NodeId;
  readonly wallMs: number;
  readonly log: LinkLog;
}

/**
 * Says it once for as long as the clocks differ.
 * @param hello what the peer has just said.
 */
export function compareClocks(peer: Peer, hello: Hello, own: OwnClock): void {
  const differenceMs = hello.wallMs - own.wallMs;
  if (Math.abs(differenceMs) <= CLOCKS_MS_MAX) {
    peer.isToldClock = false;
    return;
  }
  if (peer.isToldClock) return;
  peer.isToldClock = true;
  const seconds = Math.round(Math.abs(differenceMs) / 1000);
  const which = differenceMs > 0 ? "ahead of" : "behind";
  own.log(
    "warn",
    `the clock of ${hello.nodeId} is ${seconds} s ${which} that of ${own.nodeId}; ` +
      "keys with a time to live end by the clock of whichever is their primary: let NTP set both",
    {
      peer: hello.nodeId,
      [`${hello.nodeId} says`]: timeText(hello.wallMs),
      [`${own.nodeId} says`]: timeText(own.wallMs),
    },
  );
}

/** @param wallMs whatever a peer said. */
function timeText(wallMs: number): string {
  const date = new Date(wallMs);
  return Number.isNaN(date.getTime()) ? String(wallMs) : date.toISOString();
}

/**
 * `hothot delay-relay`: holds packets for a while. The kernel wraps them into datagrams (VXLAN, RFC 7348, section 5) and
 * sends them here; after their time they go on, wrapped again, to the member whose address they bear.
 */

import { createSocket } from "node:dgram";
import type { Command } from "commander";
import { parseCount } from "../options.ts";
import { printLine } from "../output.ts";
import { TUNNEL_PORT } from "./network.ts";
import { nextHop } from "./tunnelled-packet.ts";

interface RelayOptions {
  readonly host: string;
  readonly delayMs: number;
  readonly jitterMs: number;
}

/** Packets that wait at a time; further ones are lost, as in a full router. */
const PACKETS_MAX = 100_000;
/** Asked of the kernel, which may give less. Bytes. */
const BUFFER_BYTES = 4 * 2 ** 20;

/** Adds the command `delay-relay`, which `hothot check` runs in a bed; nobody else needs it. */
export function addDelayRelayCommand(program: Command): void {
  program
    .command("delay-relay", { hidden: true })
    .description("hold the packets of a bed for a while, until standard input ends")
    .requiredOption("--host <address>", "address to listen on")
    .requiredOption("--delay-ms <ms>", "how long a packet is held", parseCount(0, 60_000))
    .requiredOption("--jitter-ms <ms>", "how much that varies, up and down", parseCount(0, 60_000))
    .action((options: RelayOptions) => relay(options));
}

/** Relays until standard input ends. */
async function relay(options: RelayOptions): Promise<void> {
  const { host, delayMs, jitterMs } = options;
  const socket = createSocket("udp4");
  let waiting = 0;
  socket.on("message", (packet) => {
    const to = nextHop(packet);
    if (to === undefined || waiting >= PACKETS_MAX) return;
    waiting++;
    const heldMs = Math.max(0, delayMs + (2 * Math.random() - 1) * jitterMs);
    setTimeout(() => {
      waiting--;
      // A packet that cannot be sent is a lost one.
      if (!hasEnded) socket.send(packet, TUNNEL_PORT, to, () => undefined);
    }, heldMs);
  });
  let hasEnded = false;
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.bind(TUNNEL_PORT, host, () => {
      socket.setRecvBufferSize(BUFFER_BYTES);
      socket.setSendBufferSize(BUFFER_BYTES);
      printLine("relaying");
    });
    process.stdin.once("end", resolve);
    process.stdin.once("error", () => resolve());
    process.stdin.resume();
  });
  hasEnded = true;
  socket.close();
}

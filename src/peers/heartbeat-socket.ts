/**
 * The UDP socket of a node's heartbeats, on the address and port of its peer links. Whatever the network answers (no
 * route, no buffer, a port that nobody listens on) is the loss of a datagram and nothing more; nothing is ever queued
 * that would be worthless by the time it left.
 */

import * as dgram from "node:dgram";
import { isIP } from "node:net";

/** Bytes that wait for the system to take them, past which datagrams are dropped. */
const QUEUED_BYTES_MAX = 256 * 1024;
/** Asked for; the system gives what it allows. */
const BUFFER_BYTES = 1024 * 1024;
const MAPPED = "::ffff:";

type Family = "udp4" | "udp6";

export interface HeartbeatSocketOptions {
  /** As the TCP socket has them. */
  readonly address: string;
  readonly port: number;
  /** Called with each datagram; must not throw. */
  readonly received: (bytes: Buffer) => void;
  /** The socket cannot be used any more; told once. */
  readonly failed: (error: Error) => void;
}

export class HeartbeatSocket {
  readonly #options: HeartbeatSocketOptions;
  readonly #family: Family;
  /** The one that listens, and one that only sends to peers of the other address family, if there are such. */
  readonly #sockets = new Map<Family, dgram.Socket>();
  #isClosed = false;

  constructor(options: HeartbeatSocketOptions) {
    this.#options = options;
    this.#family = isIP(options.address) === 6 ? "udp6" : "udp4";
  }

  /** @throws the system's error, such as `EADDRINUSE`. */
  async listen(): Promise<void> {
    const { address, port, received } = this.#options;
    const socket = this.#open(this.#family);
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ address, port, exclusive: true }, () => {
        socket.off("error", reject);
        resolve();
      });
    });
    socket.on("error", (error) => this.#options.failed(error));
    socket.on("message", received);
    enlargeBuffers(socket);
  }

  /** @param address of the peer, a number and not a name: nothing is looked up. */
  send(address: string, port: number, datagrams: readonly Buffer[]): void {
    if (this.#isClosed) return;
    const { socket, target } = this.#route(address);
    for (const datagram of datagrams) {
      if (socket.getSendQueueSize() > QUEUED_BYTES_MAX) return;
      socket.send(datagram, port, target, ignore);
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const socket of this.#sockets.values()) socket.close();
  }

  #route(address: string): { readonly socket: dgram.Socket; readonly target: string } {
    const plain = address.startsWith(MAPPED) ? address.slice(MAPPED.length) : address;
    // A socket on all IPv6 addresses speaks IPv4 as well, from the port that peers expect.
    if (this.#family === "udp6" && this.#options.address === "::" && isIP(plain) === 4) {
      return { socket: this.#open("udp6"), target: MAPPED + plain };
    }
    return { socket: this.#open(isIP(plain) === 6 ? "udp6" : "udp4"), target: plain };
  }

  #open(family: Family): dgram.Socket {
    const known = this.#sockets.get(family);
    if (known !== undefined) return known;
    const socket = dgram.createSocket({
      type: family,
      // Addresses are numbers already, and an answer at once saves a turn of the loop.
      lookup: (host, _options, callback) => callback(null, host, family === "udp6" ? 6 : 4),
    });
    if (family !== this.#family) socket.on("error", ignore);
    this.#sockets.set(family, socket);
    return socket;
  }
}

function enlargeBuffers(socket: dgram.Socket): void {
  try {
    socket.setRecvBufferSize(BUFFER_BYTES);
    socket.setSendBufferSize(BUFFER_BYTES);
  } catch {
    // The system's own sizes hold the heartbeats of a turn too.
  }
}

function ignore(): void {}

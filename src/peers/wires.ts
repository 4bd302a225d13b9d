/**
 * The sockets of the links: how they are made, where their bytes are read to, and for how long in one turn of the event loop.
 * Who takes the bytes, and what they mean, is no matter here.
 */

import * as net from "node:net";
import { readInto } from "../sockets/accepted-socket.ts";
import { ReadBuffer } from "../sockets/read-buffer.ts";

/** Time of one turn of the event loop in which data is read, ms: heartbeats come by the same loop and must not wait behind it. */
const TURN_MS_MAX = 10;
/** After this time on an idle connection the system looks whether its other end is still there, ms. */
const KEEP_ALIVE_MS = 1000;
/** Memory that what several reads brought shares: some turns' worth under load. */
const PAGE_BYTES = 64 * 1024;

/** What every connection between nodes has, whoever dialled. */
export const SOCKET_OPTIONS = {
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEP_ALIVE_MS,
} as const;

/** A connection, and who takes what it brings: its handshake, then its line. */
export interface Wire {
  readonly socket: net.Socket;
  /** Takes the bytes from `start` to before `end` of a buffer that nobody writes to there any more. */
  take: (bytes: Buffer, start: number, end: number) => void;
}

/** Makes the wires of a node, which share the memory that they read into, and the time of a turn. */
export class Wires {
  readonly #reads = new ReadBuffer(PAGE_BYTES);
  /** When the first data of this turn was read; undefined before it was. */
  #turnBegunMs: number | undefined;
  /** Data connections that are not read until the next turn. */
  readonly #resting = new Set<net.Socket>();

  /** @returns a connection that is being made; its socket tells when it is, or that it cannot be. */
  dial(host: string, port: number): Wire {
    const socket = net.connect({
      host,
      port,
      ...SOCKET_OPTIONS,
      onread: {
        buffer: this.#reads.target,
        callback: (count) => {
          this.#keep(wire, count);
          return true;
        },
      },
    });
    const wire: Wire = { socket, take: nobody };
    return wire;
  }

  /**
   * @param accepted of a server with `pauseOnConnect`; not to be used any more.
   * @returns its connection, which is read from now on.
   */
  accept(accepted: net.Socket): Wire {
    const socket = readInto(accepted, this.#reads.target, (count) => this.#keep(wire, count));
    const wire: Wire = { socket: socket ?? accepted, take: nobody };
    if (socket === undefined) {
      accepted.on("data", (chunk: Buffer) => wire.take(chunk, 0, chunk.length));
    }
    // It ends, and is closed, only if it is read.
    wire.socket.resume();
    return wire;
  }

  /** Data is about to be taken; the first of a turn begins to count its time. */
  beginTurn(): void {
    if (this.#turnBegunMs !== undefined) return;
    this.#turnBegunMs = performance.now();
    // After all sockets had their turn.
    setImmediate(() => {
      this.#turnBegunMs = undefined;
      if (this.#resting.size === 0) return;
      for (const socket of this.#resting) socket.resume();
      this.#resting.clear();
    });
  }

  /**
   * Reads no more of this socket in a turn whose time is up: the system would hand out all that has come, megabytes of it,
   * before it looks at the next connection.
   */
  maybeRest(socket: net.Socket): void {
    if (performance.now() - (this.#turnBegunMs ?? 0) < TURN_MS_MAX) return;
    socket.pause();
    this.#resting.add(socket);
  }

  #keep(wire: Wire, count: number): void {
    const reads = this.#reads;
    reads.keep(count);
    wire.take(reads.page, reads.start, reads.end);
  }
}

/** What takes the bytes of a connection that has nobody yet. */
function nobody(): void {}

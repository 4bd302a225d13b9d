/**
 * Lets an accepted socket read into a buffer of ours. Node.js offers that (`onread`) to sockets that connect, and not to those
 * that a server has accepted; so the accepted one's handle goes to a socket that is made here. That it can is nowhere promised:
 * it is done only if all that it takes is there, and else the accepted socket is used as it is.
 */

import { type OnReadOpts, Socket, type SocketConstructorOpts } from "node:net";

/** What is inside of a socket, as far as it concerns us. */
interface Handle {
  readonly reading?: unknown;
  readonly useUserBuffer?: unknown;
}

/**
 * @param accepted what a server with `pauseOnConnect` gave: a handle that reads already would be deaf afterwards.
 * @param target where the bytes of each read are put, from its start on.
 * @param onRead told how many there are; they are overwritten once it returns.
 * @returns the socket to use from now on instead, which reads at once; undefined if that cannot be.
 */
export function readInto(
  accepted: Socket,
  target: Buffer,
  onRead: (count: number) => void,
): Socket | undefined {
  const shell = accepted as unknown as { _handle?: Handle | null };
  const handle = shell._handle;
  if (typeof handle?.useUserBuffer !== "function" || handle.reading !== false) return undefined;
  shell._handle = null;
  const options: SocketConstructorOpts & { handle: Handle; onread: OnReadOpts } = {
    handle,
    allowHalfOpen: accepted.allowHalfOpen,
    onread: {
      buffer: target,
      callback: (count) => {
        onRead(count);
        return true;
      },
    },
  };
  const socket = new Socket(options);
  // Without its handle it only counts one connection less at the server.
  accepted.destroy();
  return socket;
}

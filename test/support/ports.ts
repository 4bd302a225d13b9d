/**
 * Ports for the processes that tests start. Several files of tests run at a time, and a port may be free for a moment only because
 * its process was just killed and will be back; so each process of tests has ports of its own.
 */

import { createServer } from "node:net";
import { portTrouble } from "../../src/cli/ports.ts";
import { isErrorWithCode } from "../../src/cli/processes.ts";

/** Below the ports that systems give to outgoing connections. */
const PORT_MIN = 12_000;
const PORT_MAX = 32_000;
/** Ports of one process of tests; more than its clusters use at once. */
const SHARE = 500;
const SHARES = (PORT_MAX - PORT_MIN) / SHARE;
/** How often ports are looked for before it is given up. */
const ATTEMPTS = 200;

let share: Promise<number> | undefined;
/** How many ports of the share were looked at since it was gone round. */
let used = 0;

/**
 * @param count of ports in a row, that nothing listens on.
 * @returns the first of them; the others of this process come before they are given out again.
 * @throws Error if there are none.
 */
export async function freePorts(count: number): Promise<number> {
  share ??= claimShare();
  const first = await share;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    if (used + count > SHARE - 1) used = 0;
    const base = first + used;
    used += count;
    const ports = Array.from({ length: count }, (_, index) => base + index);
    const troubles = await Promise.all(ports.map((port) => portTrouble("127.0.0.1", port)));
    if (troubles.every((trouble) => trouble === undefined)) return base;
  }
  throw new Error(`no ${count} ports in a row are free from ${first} on`);
}

/** @returns the first port of a share that is this process's until it ends. */
async function claimShare(): Promise<number> {
  const start = Math.floor(Math.random() * SHARES);
  for (let step = 0; step < SHARES; step += 1) {
    const base = PORT_MIN + ((start + step) % SHARES) * SHARE;
    if (await hold(base)) return base + 1;
  }
  throw new Error("other tests have all ports");
}

/** Listens on a port for as long as this process lives, however it ends. @returns false if another has it. */
function hold(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once("error", (error) => {
      if (isErrorWithCode(error) && error.code === "EADDRINUSE") resolve(false);
      else reject(error);
    });
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => resolve(true));
  });
}

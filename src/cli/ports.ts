/** Which TCP ports of this machine are free. */

import { createServer } from "node:net";
import { isErrorWithCode } from "./processes.ts";

/** Why a port cannot be listened on, undefined if it can. */
export function portTrouble(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error) => {
      if (isErrorWithCode(error) && error.code === "EADDRINUSE") resolve("is in use");
      else if (isErrorWithCode(error) && error.code === "EACCES") resolve("needs more rights");
      else resolve(`cannot be opened (${error.message})`);
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => resolve(undefined));
    });
  });
}

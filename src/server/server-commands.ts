/** All commands about the connection and the server. */

import type { ServerCommand } from "./client.ts";
import { clientCommand } from "./client-command.ts";
import { commandCommand } from "./command-command.ts";
import { configCommand } from "./config-command.ts";
import { connectionCommands } from "./connection-commands.ts";
import { infoCommand } from "./info-command.ts";
import { transactionCommands } from "./transaction-commands.ts";

export const serverCommands: readonly ServerCommand[] = [
  ...connectionCommands,
  ...transactionCommands,
  clientCommand,
  commandCommand,
  configCommand,
  infoCommand,
];

/** By name in lower case. */
export const serverCommandsByName: ReadonlyMap<string, ServerCommand> = new Map(
  serverCommands.map((command) => [command.name, command]),
);

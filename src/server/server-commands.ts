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

/** By lower- and upper-case name, since clients send one or the other. */
const bySentName = new Map<string, ServerCommand>();
for (const command of serverCommands) {
  bySentName.set(command.name, command);
  bySentName.set(command.name.toUpperCase(), command);
}

const LONGEST_NAME = Math.max(...serverCommands.map(({ name }) => name.length));

/** @param name in any case. */
export function findServerCommand(name: string): ServerCommand | undefined {
  if (name.length > LONGEST_NAME) return undefined;
  return bySentName.get(name) ?? bySentName.get(name.toLowerCase());
}

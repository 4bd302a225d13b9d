/** The commands of the program `hothot`. Only what was asked for is loaded: most of a command's time is its start. */

import type { Command } from "commander";

export interface CommandOptions {
  /** Path of this program. */
  readonly script: string;
  /** Of HotHot. */
  readonly version: string;
  /** The first word of the command line. */
  readonly asked: string | undefined;
}

/** Commands that are in one file. */
interface Family {
  readonly names: readonly string[];
  readonly add: (program: Command, options: CommandOptions) => Promise<void>;
}

/** In the order in which help shows them. */
const FAMILIES: readonly Family[] = [
  {
    names: ["up"],
    add: async (program, { script }) =>
      (await import("../cli/up.ts")).addUpCommand(program, script),
  },
  {
    names: ["down"],
    add: async (program) => (await import("../cli/down.ts")).addDownCommand(program),
  },
  {
    names: ["status"],
    add: async (program) => (await import("../cli/status.ts")).addStatusCommand(program),
  },
  {
    names: ["kill", "pause", "resume", "start"],
    add: async (program) =>
      (await import("../cli/node-control.ts")).addNodeControlCommands(program),
  },
  {
    names: ["transfer"],
    add: async (program) => (await import("../cli/transfer.ts")).addTransferCommand(program),
  },
  {
    names: ["split"],
    add: async (program) => (await import("../cli/split.ts")).addSplitCommand(program),
  },
  {
    names: ["check"],
    add: async (program, { script }) =>
      (await import("../cli/check-command.ts")).addCheckCommand(program, script),
  },
  {
    names: ["delay-relay"],
    add: async (program) =>
      (await import("../cli/bed/delay-relay.ts")).addDelayRelayCommand(program),
  },
  {
    names: ["afflict"],
    add: async (program) => (await import("../cli/check/afflict.ts")).addAfflictCommand(program),
  },
  {
    names: ["init"],
    add: async (program) => (await import("../cli/init.ts")).addInitCommand(program),
  },
  {
    names: ["join", "remove"],
    add: async (program) => (await import("../cli/membership-join.ts")).addJoinCommands(program),
  },
  {
    names: ["readdress"],
    add: async (program) =>
      (await import("../cli/membership-readdress.ts")).addReaddressCommand(program),
  },
  {
    names: ["rebalance", "drain", "replace"],
    add: async (program) =>
      (await import("../cli/membership-rebalance.ts")).addRebalanceCommands(program),
  },
  {
    names: ["recover", "copies"],
    add: async (program) =>
      (await import("../cli/membership-recover.ts")).addRecoverCommands(program),
  },
  {
    names: ["backup"],
    add: async (program) => (await import("../cli/backup.ts")).addBackupCommand(program),
  },
  {
    names: ["restore"],
    add: async (program) => (await import("../cli/restore.ts")).addRestoreCommand(program),
  },
  {
    names: ["node"],
    add: async (program, { version }) =>
      (await import("./process-commands.ts")).addNodeCommand(program, version),
  },
  {
    names: ["witness"],
    add: async (program) => (await import("./process-commands.ts")).addWitnessCommand(program),
  },
];

/** Adds the command that was asked for and those in one file with it; all of them if none was, as for `help`. */
export async function addCommands(program: Command, options: CommandOptions): Promise<void> {
  const { asked } = options;
  const family = FAMILIES.find(({ names }) => asked !== undefined && names.includes(asked));
  for (const { add } of family === undefined ? FAMILIES : [family]) await add(program, options);
}

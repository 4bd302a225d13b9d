#!/usr/bin/env node
/** The program `hothot`: reads the command line and calls what does the work. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command, CommanderError } from "commander";
import { CliError } from "../cli/cli-error.ts";
import { printLine, printNote } from "../cli/output.ts";
import { addCommands } from "./commands.ts";

/** Exit statuses: 0 done, 1 failed, 2 (`status`) not every node is ready, 64 wrong usage, 70 a bug. */
const USAGE_STATUS = 64;
const BUG_STATUS = 70;

const script = fileURLToPath(import.meta.url);

const program = new Command("hothot")
  .description("An active-active key-value store that speaks the Redis protocol.")
  .version(readVersion(), "-V, --version", "print the version")
  .showHelpAfterError("(see: hothot help)")
  .exitOverride();

await addCommands(program, { script, version: readVersion(), asked: process.argv[2] });
program
  .command("version")
  .description("print the version")
  .action(() => printLine(readVersion()));

// Whoever reads the output may have seen enough, as `head` does.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** Tells the error to whoever sits at the terminal. @returns the exit status. */
function report(error: unknown): number {
  // Commander has printed its own message, and help and version are no errors.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE_STATUS;
  if (error instanceof CliError) {
    printNote(`hothot: ${error.message}`);
    return error.exitCode;
  }
  printNote(`hothot: this is a bug; please report it with what you did:\n${stackOf(error)}`);
  return BUG_STATUS;
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** From `package.json`, which lies above the directory of the build. */
function readVersion(): string {
  const path = new URL("../../../package.json", import.meta.url);
  const value: unknown = JSON.parse(readFileSync(path, "utf8"));
  if (typeof value === "object" && value !== null && "version" in value)
    return String(value.version);
  return "unknown";
}

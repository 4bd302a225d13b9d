/** The command line of `hothot check`; what carries it out is loaded when it is asked for. */

import { type Command, InvalidArgumentError } from "commander";
import {
  ALL_OF_NETWORK,
  chooseFaults,
  FAILOVER_KINDS,
  FAULT_KINDS,
  type FaultChoice,
} from "./check/fault-kinds.ts";
import { NET_FAULT_KINDS } from "./check/net-faults.ts";
import type { CheckOptions } from "./check.ts";
import { CliError } from "./cli-error.ts";
import { type Address, DEFAULT_DIR, parseAddress, parseCount } from "./options.ts";

/** Exit status of a check that could not be carried out. */
const NOT_CARRIED_OUT = 2;
/**
 * Adds the command `check`.
 * @param script path of this program.
 */
export function addCheckCommand(program: Command, script: string): void {
  program
    .command("check")
    .description(
      "drive a cluster with clients, break it, and judge whether every answer was right and no acknowledged write is lost",
    )
    .option(
      "--duration <seconds>",
      "how long to work and to break things",
      parseCount(1, 86_400),
      60,
    )
    .option("--clients <count>", "clients, spread over the nodes", parseCount(1, 1_000), 20)
    .option("--keys <count>", "keys that they contend for", parseCount(1, 10_000), 16)
    .option(
      "--nemesis <faults>",
      `faults, of ${FAULT_KINDS.join(",")}; ${ALL_OF_NETWORK} is all from ${NET_FAULT_KINDS[0]} on, and needs hothot up --bed`,
      parseFaults,
    )
    .option(
      "--target <host:port,…>",
      "servers of the Redis protocol that are to be one store, instead of the cluster in --dir",
      parseTargets,
    )
    .option("--seed <number>", "repeats the same workload and faults", parseCount(0, 2 ** 48))
    .option(
      "--think-ms <ms>",
      "longest pause of a client between an answer and its next command",
      parseCount(0, 60_000),
      10,
    )
    .option(
      "--timeout-ms <ms>",
      "after which an operation's outcome counts as unknown",
      parseCount(100, 600_000),
      8_000,
    )
    .option(
      "--max-gap-ms <ms>",
      `bound on the median gap of each of ${FAILOVER_KINDS.join(", ")}; 0 for none`,
      parseCount(0, 600_000),
      550,
    )
    .option("--json", "print the report as JSON; progress goes to standard error")
    .option("--history <file>", "save the history")
    .option("--judge <file>", "judge a saved history again and do nothing else")
    .option("--dir <path>", "state directory of the cluster", DEFAULT_DIR)
    .action(async (options: CheckOptions) => {
      // Loaded only here: every other command, and every node, starts faster without the client library.
      const { check, judgeFile } = await import("./check.ts");
      try {
        process.exitCode =
          options.judge === undefined
            ? await check(options, script)
            : judgeFile(options.judge, options);
      } catch (error) {
        if (!(error instanceof CliError)) throw error;
        throw new CliError(error.message, { exitCode: NOT_CARRIED_OUT, cause: error });
      }
    });
}

function parseFaults(text: string): FaultChoice {
  const choice = chooseFaults(text.split(",").map((word) => word.trim()));
  if (choice !== undefined) return choice;
  const names = [...FAULT_KINDS, ALL_OF_NETWORK].join(", ");
  throw new InvalidArgumentError(`${text} is not made of ${names}.`);
}

function parseTargets(text: string): readonly Address[] {
  return text.split(",").map((word) => parseAddress(word.trim()));
}

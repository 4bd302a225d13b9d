/** `hothot transfer`: hands a shard to another primary on purpose, without an error for any client. */

import type { Command } from "commander";
import { CliError } from "./cli-error.ts";
import { callHttp } from "./http-client.ts";
import { type NodeView, viewCluster } from "./node-view.ts";
import { type Address, DEFAULT_DIR, parseAddress, parseCount } from "./options.ts";
import { printLine } from "./output.ts";
import { pause } from "./processes.ts";

const ANSWER_MS_MAX = 3_000;
const TRANSFER_MS_MAX = 5_000;

/** Adds the command `transfer`. */
export function addTransferCommand(program: Command): void {
  program
    .command("transfer")
    .description("make another in-sync node the primary of a shard")
    .argument("<shard>", "its number", parseCount(0, 1_000_000))
    .argument("<node>", "the new primary, such as n2")
    .option("--dir <path>", "state directory", DEFAULT_DIR)
    .option("--node <host:port>", "HTTP address of any node of a cluster elsewhere", parseAddress)
    .action(
      async (
        shard: number,
        successor: string,
        options: { readonly dir: string; readonly node?: Address },
      ) => {
        await transferShard(options, shard, successor);
        printLine(`${successor} is the primary of shard ${shard}.`);
      },
    );
}

/**
 * Asks the shard's primary to hand it over, and waits until the successor leads it.
 * @throws CliError if it does not come to that.
 */
export async function transferShard(
  where: { readonly dir: string; readonly node?: Address },
  shard: number,
  successor: string,
): Promise<void> {
  const nodes = await viewCluster(where);
  const target = nodes.find((node) => node.id === successor);
  if (target === undefined) throw new CliError(`There is no node ${successor}; see: hothot status`);
  if (leads(target, shard)) return;
  const primary = nodes.find((node) => leads(node, shard));
  if (primary === undefined) {
    throw new CliError(`No node that answers is the primary of shard ${shard}; see: hothot status`);
  }
  const answer = await callHttp({
    host: primary.host,
    port: primary.httpPort,
    method: "POST",
    path: "/transfer",
    body: { shard, successor },
    timeoutMs: ANSWER_MS_MAX,
  }).catch((error: unknown) => {
    throw new CliError(
      `${primary.id} did not answer; the shard may have moved or not. See: hothot status`,
      { cause: error },
    );
  });
  if (answer.status >= 300) throw new CliError(`${primary.id} refuses: ${answer.body}`);
  const deadline = performance.now() + TRANSFER_MS_MAX;
  while (performance.now() < deadline) {
    const now = (await viewCluster(where)).find((node) => node.id === successor);
    if (now !== undefined && leads(now, shard)) return;
    await pause(50);
  }
  throw new CliError(
    `${successor} has not become the primary of shard ${shard} yet; see: hothot status`,
  );
}

function leads(node: NodeView, shard: number): boolean {
  return (
    node.answer?.status.shards.some((each) => each.shard === shard && each.role === "primary") ===
    true
  );
}

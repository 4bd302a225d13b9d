/** `hothot node` and `hothot witness`: the processes that a cluster is made of. `hothot up` runs them; so may others. */

import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { parsePort, threadsOf, threadsOption } from "../cli/options.ts";
import { READ_POLICIES, type ReadPolicy } from "../replica/read-balancer.ts";
import type { LogLevel } from "./log.ts";
import type { NodeOptions } from "./node-process.ts";
import { goBehind, wakeInTurn } from "./priority.ts";

const LOG_LEVELS: readonly LogLevel[] = [
  "trace",
  "debug",
  "info",
  "warn",
  "error",
  "fatal",
  "silent",
];

/** What every command says of its option `--register`. */
const REGISTER_OPTION =
  "address of the configuration register: http://host:port (a witness), etcd://host:port,host:port[/prefix] or etcds://… (with TLS)";

interface NodeFlags {
  readonly id: string;
  readonly register: string;
  readonly cluster?: string;
  readonly host?: string;
  readonly secretFile?: string;
  readonly dataDir?: string;
  readonly store?: string;
  readonly readPolicy: ReadPolicy;
  readonly threads?: number;
  readonly requirepass?: string;
  readonly logLevel: LogLevel;
  readonly enableFaults?: true;
  readonly enableDebug?: true;
}

interface WitnessFlags {
  readonly host: string;
  readonly port: number;
  readonly file?: string;
  readonly cluster?: string;
  readonly logLevel: LogLevel;
}

/**
 * Adds the command `node`.
 * @param version of HotHot, which the node tells its clients.
 */
export function addNodeCommand(program: Command, version: string): void {
  program
    .command("node")
    .description("run one node until SIGTERM; its addresses are in the cluster's configuration")
    .requiredOption("--id <name>", "its name in the configuration, such as n1")
    .requiredOption("--register <url>", REGISTER_OPTION)
    .option("--cluster <id>", "refuse to start if the register belongs to another cluster")
    .option("--host <address>", "listen here instead of the address in the configuration")
    .option(
      "--secret-file <path>",
      "file with the secret that all nodes of the cluster share (default: $HOTHOT_SECRET, or none)",
    )
    .option(
      "--data-dir <path>",
      "directory of this node alone, for its durable copy (clusters with durability fsync or async)",
    )
    .addOption(
      new Option(
        "--store <url>",
        "keep the durable copy in a Redis server instead: redis://host:port[/db], of this node alone",
      ).conflicts("dataDir"),
    )
    .addOption(
      new Option(
        "--read-policy <policy>",
        "which in-sync copy is asked to read where this node has none",
      )
        .choices(READ_POLICIES)
        .default("least-outstanding"),
    )
    .addOption(threadsOption("the cores of this machine but one"))
    .option("--requirepass <password>", "what clients have to give with AUTH")
    .addOption(logLevelOption())
    .option("--enable-faults", "for tests: let HTTP requests cut the links between nodes")
    .option("--enable-debug", "for tests: allow DEBUG SLEEP")
    .action(async (flags: NodeFlags) => {
      // Loaded only here: the commands that just ask a cluster start faster without the servers.
      // Until it is in sync: its start and its learning are not to keep those from running that serve on this machine.
      goBehind();
      wakeInTurn();
      const { runNode } = await import("./node-process.ts");
      const status = await runNode({
        nodeId: flags.id,
        registerUrl: flags.register,
        version,
        logLevel: flags.logLevel,
        enableFaults: flags.enableFaults === true,
        enableDebug: flags.enableDebug === true,
        ...(flags.cluster === undefined ? {} : { clusterId: flags.cluster }),
        ...(flags.host === undefined ? {} : { host: flags.host }),
        ...(flags.secretFile === undefined ? {} : { secretFile: flags.secretFile }),
        readPolicy: flags.readPolicy,
        threads: flags.threads ?? threadsOf(1),
        ...diskPlaceOf(flags),
        ...(flags.requirepass === undefined
          ? {}
          : { requirePass: Buffer.from(flags.requirepass, "utf8").toString("latin1") }),
      });
      process.exit(status);
    });
}

function diskPlaceOf({ dataDir, store }: NodeFlags): Pick<NodeOptions, "disk"> {
  if (dataDir !== undefined) return { disk: { dataDir: resolve(dataDir) } };
  return store === undefined ? {} : { disk: { storeUrl: store } };
}

/** Adds the command `witness`. */
export function addWitnessCommand(program: Command): void {
  program
    .command("witness")
    .description("run the witness, which keeps a cluster's configuration, until SIGTERM")
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .requiredOption("--port <port>", "port to listen on", parsePort)
    .option(
      "--file <path>",
      "where the configuration is kept; without it, it ends with the process",
    )
    .option("--cluster <id>", "serve this cluster only")
    .addOption(logLevelOption())
    .action(async (flags: WitnessFlags) => {
      const { runWitness } = await import("./witness-process.ts");
      const status = await runWitness({
        host: flags.host,
        port: flags.port,
        logLevel: flags.logLevel,
        ...(flags.file === undefined ? {} : { file: flags.file }),
        ...(flags.cluster === undefined ? {} : { clusterId: flags.cluster }),
      });
      process.exit(status);
    });
}

function logLevelOption(): Option {
  return new Option("--log-level <level>", "least level that is logged")
    .choices(LOG_LEVELS)
    .default("info");
}

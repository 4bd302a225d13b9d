/** `hothot kill`, `pause`, `resume`, `start`: what can befall a node, at will. */

import type { Command } from "commander";
import {
  type ClusterState,
  killNode,
  pauseNode,
  readClusterState,
  resumeNode,
  startNode,
} from "./cluster-state.ts";
import { DEFAULT_DIR } from "./options.ts";
import { printLine } from "./output.ts";

interface Control {
  readonly name: string;
  readonly description: string;
  readonly done: (id: string) => string;
  readonly act: (state: ClusterState, id: string) => Promise<void> | void;
}

const CONTROLS: readonly Control[] = [
  {
    name: "kill",
    description:
      "kill a node's process (SIGKILL), as a crash would, and keep it down until `hothot start`",
    done: (id) => `${id} is killed and stays down; bring it back with: hothot start ${id}`,
    act: killNode,
  },
  {
    name: "pause",
    description: "freeze a node's process (SIGSTOP)",
    done: (id) => `${id} is paused; let it go on with: hothot resume ${id}`,
    act: pauseNode,
  },
  {
    name: "resume",
    description: "let a paused node go on (SIGCONT)",
    done: (id) => `${id} goes on`,
    act: resumeNode,
  },
  {
    name: "start",
    description: "start a node that has ended; its copies are filled again by the others",
    done: (id) => `${id} is started; see how it fills with: hothot status`,
    act: startNode,
  },
];

/** Adds the commands that act on one process of a running cluster. */
export function addNodeControlCommands(program: Command): void {
  for (const control of CONTROLS) {
    program
      .command(control.name)
      .description(control.description)
      .argument("<node>", "its name, such as n2; or witness")
      .option("--dir <path>", "state directory", DEFAULT_DIR)
      .action(async (id: string, options: { readonly dir: string }) => {
        await control.act(readClusterState(options.dir), id);
        printLine(control.done(id));
      });
  }
}

/** Every command that a client can name, with all that a connection has to know of it: one lookup for each request. */

import { NameTable } from "../commands/name-table.ts";
import type { CommandSpec } from "../commands/spec.ts";
import { codeOf, dataCommands } from "../commands/table.ts";
import type { Command } from "../data/command.ts";
import { assert } from "../kit/assert.ts";
import { type Route, routeOf } from "../router/routes.ts";
import type { ServerCommand } from "./client.ts";
import { serverCommands } from "./server-commands.ts";

/** Counts the answers to one command. */
export interface CommandTally {
  /** @param ms from the request's arrival to its answer. */
  answered(isRefusal: boolean, ms: number): void;
}

/** Is told of each command that was answered. */
export interface CommandObserver {
  /**
   * Asked once for each command.
   * @param command its name in lower case; `unknown` for what is none, so that clients cannot make up names.
   */
  tallyOf(command: string): CommandTally;
}

interface Known {
  /** In lower case. */
  readonly name: string;
  readonly spec: CommandSpec;
  readonly tally: CommandTally;
  /** It takes so little time that the clock need not be looked at after each. */
  readonly isQuick: boolean;
}

/** A command that the router finds a shard for. */
export interface KnownDataCommand extends Known {
  readonly kind: "data";
  readonly route: Route;
  readonly code: number;
}

/** Such a command, or one of the server itself. */
export type KnownCommand =
  | (Known & { readonly kind: "server"; readonly command: ServerCommand })
  | KnownDataCommand;

const NO_TALLY: CommandTally = { answered: () => undefined };

export class KnownCommands {
  /** For what is no command. */
  readonly unknown: CommandTally;
  readonly #byName: NameTable<KnownCommand>;

  constructor(observer: CommandObserver | undefined) {
    this.unknown = observer?.tallyOf("unknown") ?? NO_TALLY;
    const byName = new Map<string, KnownCommand>();
    for (const spec of dataCommands) {
      const route = routeOf(spec);
      assert(route !== undefined, "each command of the table has a route");
      const isQuick = spec.complexity === "O(1)";
      const code = codeOf(spec);
      byName.set(spec.name, { kind: "data", route, code, isQuick, ...knownOf(spec, observer) });
    }
    // The server's come last: WATCH is one of the shards only for the router.
    for (const command of serverCommands) {
      const known = knownOf(command, observer);
      byName.set(command.name, { kind: "server", command, isQuick: false, ...known });
    }
    this.#byName = new NameTable(byName);
  }

  /** What the first argument names, in any case; a command of the shards also learns its code. */
  find(command: Command): KnownCommand | undefined {
    const known = this.#byName.find(command);
    if (known?.kind === "data") command.code = known.code;
    return known;
  }
}

function knownOf(spec: CommandSpec, observer: CommandObserver | undefined) {
  return { name: spec.name, spec, tally: observer?.tallyOf(spec.name) ?? NO_TALLY };
}

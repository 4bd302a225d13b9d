/** Every command that a client can name, with all that a connection has to know of it: one lookup for each request. */

import type { CommandSpec } from "../commands/spec.ts";
import { dataCommands } from "../commands/table.ts";
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

/** A command of the server itself, or one that the router finds a shard for. */
export type KnownCommand =
  | (Known & { readonly kind: "server"; readonly command: ServerCommand })
  | (Known & { readonly kind: "data"; readonly route: Route });

const NO_TALLY: CommandTally = { answered: () => undefined };

export class KnownCommands {
  /** For what is no command. */
  readonly unknown: CommandTally;
  /** By lower- and upper-case name, since clients send one or the other. */
  readonly #byName = new Map<string, KnownCommand>();
  readonly #longestName: number;

  constructor(observer: CommandObserver | undefined) {
    this.unknown = observer?.tallyOf("unknown") ?? NO_TALLY;
    for (const spec of dataCommands) {
      const route = routeOf(spec);
      assert(route !== undefined, "each command of the table has a route");
      const isQuick = spec.complexity === "O(1)";
      this.#add({ kind: "data", route, ...known(spec, observer), isQuick });
    }
    // The server's come last: WATCH is one of the shards only for the router.
    for (const command of serverCommands) {
      this.#add({ kind: "server", command, ...known(command, observer), isQuick: false });
    }
    this.#longestName = Math.max(...[...this.#byName.keys()].map(({ length }) => length));
  }

  #add(command: KnownCommand): void {
    this.#byName.set(command.name, command);
    this.#byName.set(command.name.toUpperCase(), command);
  }

  /** @param name in any case. */
  find(name: string): KnownCommand | undefined {
    if (name.length > this.#longestName) return undefined;
    return this.#byName.get(name) ?? this.#byName.get(name.toLowerCase());
  }
}

function known(spec: CommandSpec, observer: CommandObserver | undefined) {
  return { name: spec.name, spec, tally: observer?.tallyOf(spec.name) ?? NO_TALLY };
}

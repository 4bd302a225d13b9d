/** The table behind CONFIG GET and SET. Settings are this node's own; what is fixed says how this server is, honestly. */

import { constants } from "node:buffer";

import type { Refusal } from "../data/reply.ts";
import { globMatches } from "../kit/glob.ts";
import { BULK_BYTES_MAX, REQUEST_BYTES_MAX } from "../resp/request-parser.ts";
import { CLIENTS_MAX, KEEP_ALIVE_MS, OUTPUT_HARD_BYTES_MAX } from "./limits.ts";
import { configSetFailed, unknownSetting } from "./refusals.ts";

const BULK_BYTES_LEAST = 1024 * 1024;
const INTEGER = /^-?[0-9]{1,19}$/;
const MEMORY = /^([0-9]{1,15})(b|k|kb|m|mb|g|gb)?$/i;
const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1000,
  kb: 1024,
  m: 1_000_000,
  mb: 1024 * 1024,
  g: 1_000_000_000,
  gb: 1024 * 1024 * 1024,
};

/** What a setting starts with; everything has a default. */
export interface InitialSettings {
  /** Connections, 1 or more. */
  readonly maxClients?: number;
  /** Empty for none. A binary string. */
  readonly requirePass?: string;
  /** Idle time in s after which a connection is closed; 0 for never. */
  readonly timeoutSeconds?: number;
}

interface Setting {
  readonly name: string;
  readonly get: () => string;
  /** @returns why the value is not taken, undefined if it is; checks only if `isDry`. */
  readonly set: (value: string, isDry: boolean) => string | undefined;
}

export class Settings {
  maxClients: number;
  requirePass: string;
  timeoutSeconds: number;
  bulkBytesMax = BULK_BYTES_MAX;
  readonly #settings: readonly Setting[];

  /** @param fixed further settings that never change, such as the port. */
  constructor(initial: InitialSettings, fixed: Readonly<Record<string, string>>) {
    this.maxClients = initial.maxClients ?? CLIENTS_MAX;
    this.requirePass = initial.requirePass ?? "";
    this.timeoutSeconds = initial.timeoutSeconds ?? 0;
    const all: Readonly<Record<string, string>> = {
      appendonly: "no",
      "client-output-buffer-limit": `normal ${OUTPUT_HARD_BYTES_MAX} 0 0`,
      "client-query-buffer-limit": String(REQUEST_BYTES_MAX),
      "cluster-enabled": "no",
      databases: "1",
      maxmemory: "0",
      "maxmemory-policy": "noeviction",
      save: "",
      "tcp-keepalive": String(KEEP_ALIVE_MS / 1000),
      ...fixed,
    };
    this.#settings = [
      {
        name: "maxclients",
        get: () => String(this.maxClients),
        set: (value, isDry) =>
          setInteger(value, 1, 4_294_967_295, (count) => {
            if (!isDry) this.maxClients = count;
          }),
      },
      {
        name: "requirepass",
        get: () => this.requirePass,
        set: (value, isDry) => {
          if (!isDry) this.requirePass = value;
          return undefined;
        },
      },
      {
        name: "timeout",
        get: () => String(this.timeoutSeconds),
        set: (value, isDry) =>
          setInteger(value, 0, 2_147_483_647, (seconds) => {
            if (!isDry) this.timeoutSeconds = seconds;
          }),
      },
      {
        name: "proto-max-bulk-len",
        get: () => String(this.bulkBytesMax),
        set: (value, isDry) =>
          setMemory(value, BULK_BYTES_LEAST, constants.MAX_STRING_LENGTH, (bytes) => {
            if (!isDry) this.bulkBytesMax = bytes;
          }),
      },
      ...Object.entries(all).map(([name, value]) => fixedSetting(name, value)),
    ];
  }

  /** @returns the settings whose names match any of the glob patterns, each once. */
  get(patterns: readonly string[]): [string, string][] {
    const wanted = patterns.map((pattern) => pattern.toLowerCase());
    return this.#settings
      .filter(({ name }) => wanted.some((pattern) => globMatches(pattern, name)))
      .map(({ name, get }) => [name, get()]);
  }

  /**
   * Changes all of the settings or none.
   * @returns why not, undefined if it is done.
   */
  set(pairs: readonly (readonly [name: string, value: string])[]): Refusal | undefined {
    const seen = new Set<string>();
    const changes: { readonly setting: Setting; readonly value: string }[] = [];
    for (const [given, value] of pairs) {
      const name = given.toLowerCase();
      const setting = this.#settings.find((each) => each.name === name);
      if (setting === undefined) return unknownSetting(given);
      if (seen.has(name)) return configSetFailed(name, "duplicate parameter");
      seen.add(name);
      changes.push({ setting, value });
    }
    for (const { setting, value } of changes) {
      const why = setting.set(value, true);
      if (why !== undefined) return configSetFailed(setting.name, why);
    }
    for (const { setting, value } of changes) setting.set(value, false);
    return undefined;
  }
}

/** A setting that can only be set to what it is already, as tools do that switch off what we do not have. */
function fixedSetting(name: string, fixed: string): Setting {
  return {
    name,
    get: () => fixed,
    set: (value) => (value === fixed ? undefined : "can't set immutable config"),
  };
}

function setInteger(
  text: string,
  least: number,
  most: number,
  store: (value: number) => void,
): string | undefined {
  if (!INTEGER.test(text)) return "argument couldn't be parsed into an integer";
  const value = Number(text);
  if (value < least || value > most) {
    return `argument must be between ${least} and ${most} inclusive`;
  }
  store(value);
  return undefined;
}

function setMemory(
  text: string,
  least: number,
  most: number,
  store: (value: number) => void,
): string | undefined {
  const [, digits, unit = ""] = MEMORY.exec(text) ?? [];
  if (digits === undefined) return "argument must be a memory value";
  return setInteger(String(Number(digits) * (UNITS[unit.toLowerCase()] ?? 1)), least, most, store);
}

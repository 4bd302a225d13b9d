/** The error answers of the data commands, with Redis's own codes and texts. */

import type { Command } from "../data/command.ts";
import { Refusal } from "../data/reply.ts";

const err = (message: string) => new Refusal("ERR", message);

export const SYNTAX_ERROR = err("syntax error");
export const NOT_AN_INTEGER = err("value is not an integer or out of range");
export const NOT_A_FLOAT = err("value is not a valid float");
export const INCREMENT_OVERFLOW = err("increment or decrement would overflow");
export const DECREMENT_OVERFLOW = err("decrement would overflow");
export const NAN_OR_INFINITY = err("increment would produce NaN or Infinity");
export const NO_SUCH_KEY = err("no such key");
export const OFFSET_OUT_OF_RANGE = err("offset is out of range");
export const VALUE_TOO_LONG = err("string exceeds maximum allowed size (proto-max-bulk-len)");
export const SAME_OBJECT = err("source and destination objects are the same");
export const DB_OUT_OF_RANGE = err("DB index is out of range");
export const DB_OUT_OF_32_BITS = err(
  "value is out of range, value must between -2147483648 and 2147483647",
);
export const INVALID_CURSOR = err("invalid cursor");
export const LCS_LENGTH_AND_INDEXES = err(
  "If you want both the length and indexes, please just use IDX.",
);
export const LCS_TOO_BIG = err(
  "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
);
export const EXPIRE_NX_CONFLICT = err(
  "NX and XX, GT or LT options at the same time are not compatible",
);
export const EXPIRE_GT_LT_CONFLICT = err("GT and LT options at the same time are not compatible");

/** @param command the name, in lower case. */
export function invalidExpireTime(command: string): Refusal {
  return err(`invalid expire time in '${command}' command`);
}

export function unsupportedOption(option: string): Refusal {
  return err(`Unsupported option ${option}`);
}

/** @param command the name, in lower case. */
export function wrongArity(command: string): Refusal {
  return err(`wrong number of arguments for '${command}' command`);
}

/** @param command as the client sent it. */
export function unknownCommand(command: Command): Refusal {
  let shown = "";
  for (let i = 1; i < command.count && shown.length < 128; i++) {
    shown += `'${command.text(i).slice(0, 128 - shown.length)}' `;
  }
  const name = command.text(0).slice(0, 128);
  return err(`unknown command '${name}', with args beginning with: ${shown}`);
}

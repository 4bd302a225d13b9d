/** The error answers of the connection and server commands, with Redis's own codes and texts. */

import { Refusal } from "../data/reply.ts";

export const SYNTAX_ERROR = err("syntax error");
export const NOT_AN_INTEGER = err("value is not an integer or out of range");
export const DB_OUT_OF_RANGE = err("DB index is out of range");
export const NOT_AUTHENTICATED = new Refusal("NOAUTH", "Authentication required.");
export const WRONG_PASSWORD = new Refusal(
  "WRONGPASS",
  "invalid username-password pair or user is disabled.",
);
export const NO_PASSWORD_SET = err(
  "AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
);
export const HELLO_NOT_AUTHENTICATED = new Refusal(
  "NOAUTH",
  "HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
);
export const UNSUPPORTED_PROTOCOL = new Refusal("NOPROTO", "unsupported protocol version");
export const BAD_PROTOCOL_NUMBER = err("Protocol version is not an integer or out of range");
export const BAD_CLIENT_NAME = err(
  "Client names cannot contain spaces, newlines or special characters.",
);
export const BAD_CLIENT_ID = err("Invalid client ID");
export const TOO_MANY_CLIENTS = err("max number of clients reached");
export const NESTED_MULTI = err("MULTI calls can not be nested");
export const EXEC_WITHOUT_MULTI = err("EXEC without MULTI");
export const DISCARD_WITHOUT_MULTI = err("DISCARD without MULTI");
export const WATCH_INSIDE_MULTI = err("WATCH inside MULTI is not allowed");
export const NOT_IN_TRANSACTION = err("Command not allowed inside a transaction");
export const TRANSACTION_TOO_LARGE = err("Transaction is too large");
export const TOO_MANY_WATCHED = err("Too many watched keys");
export const TRANSACTION_ABORTED = new Refusal(
  "EXECABORT",
  "Transaction discarded because of previous errors.",
);
export const NO_CONFIG_FILE = err("The server is running without a config file");
export const NO_KEY_ARGUMENTS = err("The command has no key arguments");
export const INVALID_COMMAND = err("Invalid command specified");
export const INVALID_ARGUMENT_COUNT = err("Invalid number of arguments specified for command");
export const DEBUG_NOT_ALLOWED = err(
  "DEBUG command not allowed. It is for tests, and must be enabled when the server is started.",
);

/** @param text what follows `ERR`. */
export function err(text: string): Refusal {
  return new Refusal("ERR", text);
}

/**
 * @param command in upper case.
 * @param subcommand as the client sent it.
 */
export function unknownSubcommand(command: string, subcommand: string): Refusal {
  return err(`unknown subcommand '${subcommand.slice(0, 128)}'. Try ${command} HELP.`);
}

export function badHelloOption(option: string): Refusal {
  return err(`Syntax error in HELLO option '${option}'`);
}

export function configSetFailed(name: string, reason: string): Refusal {
  return err(`CONFIG SET failed (possibly related to argument '${name}') - ${reason}`);
}

export function unknownSetting(name: string): Refusal {
  return err(`Unknown option or number of arguments for CONFIG SET - '${name}'`);
}

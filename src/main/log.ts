/** Structured logs: one line of JSON an event, on standard output. */

import { type Logger, pino } from "pino";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** @param name of the process, such as a node's id; every line carries it. */
export function createLogger(name: string, level: LogLevel): Logger {
  return pino({ level, base: { pid: process.pid, node: name } });
}

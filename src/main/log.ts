/** Structured logs: one line of JSON an event, on standard output. */

import { type Logger, pino } from "pino";
import type { CoreEvent } from "../replica/surface.ts";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** @param name of the process, such as a node's id; every line carries it. */
export function createLogger(name: string, level: LogLevel): Logger {
  return pino({ name, level, base: { pid: process.pid, node: name } });
}

/** One line for what the core tells of. */
export function logCoreEvent(log: Logger, event: CoreEvent): void {
  const { kind, ...fields } = event;
  switch (event.kind) {
    case "suspected":
      log.warn(fields, `${event.node} is silent`);
      return;
    case "epoch":
      log.info(fields, `shard ${event.shard} is in epoch ${event.epoch} under ${event.primary}`);
      return;
    case "failover":
      log.warn(
        event.failover,
        `shard ${event.failover.shard} failed over to ${event.failover.newPrimary}`,
      );
      return;
    case "copy":
      log.info(
        fields,
        `copy of shard ${event.shard} to ${event.learner} ${event.step === "begun" ? "begins" : "is done"}`,
      );
      return;
    case "evicting":
      log.warn(fields, `${event.node} is to leave shard ${event.shard}: ${event.why}`);
      return;
    case "swap":
      log[event.outcome === "done" ? "info" : "warn"](fields, `swap: ${event.reason}`);
      return;
    case "warning":
      log.warn(event.text);
      return;
    default:
      log.info(fields, kind);
  }
}

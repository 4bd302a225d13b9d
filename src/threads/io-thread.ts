/**
 * What a thread runs that takes clients' connections and has no core: a RESP server whose door leads to the main thread. It ends
 * with the process, and what goes wrong in it ends the process.
 */

import { parentPort, workerData } from "node:worker_threads";
import { Refusal } from "../data/reply.ts";
import { assert } from "../kit/assert.ts";
import { Router } from "../router/router.ts";
import { Intake, type IntakeLimits } from "../server/intake.ts";
import { type NodeWide, stallThread } from "../server/node-wide.ts";
import { INTAKE_LIMITS, RespServer } from "../server/resp-server.ts";
import { Calls } from "./calls.ts";
import { ReceivingEnd, SendingEnd } from "./lane.ts";
import type { NodeQuestions, ThreadQuestions, ThreadStart } from "./questions.ts";
import { SharedCounts } from "./shared-counts.ts";
import { TallySheet } from "./tally-sheet.ts";
import { ThreadDoor } from "./thread-door.ts";

run(workerData);

function run(start: ThreadStart): void {
  assert(parentPort !== null, "a thread has a parent");
  const counts = new SharedCounts(start.counts);
  const sheet = new TallySheet(start.latencyBoundsMs);
  let server: RespServer | undefined;
  const calls = new Calls<NodeQuestions, ThreadQuestions>(
    parentPort,
    {
      listen: (where, take) => {
        const { enableDebug, settings, version } = start;
        server = new RespServer({
          ...settings,
          ...where,
          door,
          intake,
          router: new Router(door),
          nodeWide: () => nodeWide,
          observer: sheet,
          enableDebug,
          version,
        });
        const made = server;
        made.listen().then(
          (port) => take({ kind: "listening", port, descriptor: made.descriptor }),
          (error: NodeJS.ErrnoException) =>
            take({ kind: "failed", code: error.code, message: error.message }),
        );
      },
      configuration: (configuration, take) => {
        door.configure(configuration);
        take(undefined);
      },
      report: (_nothing, take) => take(running(server).report()),
      clients: (_nothing, take) => take(running(server).clients()),
      configure: (pairs, take) => take(running(server).configure(pairs)),
      resetCounters: (_nothing, take) => {
        running(server).resetCounters();
        take(undefined);
      },
      tallies: (_nothing, take) => take(sheet.take()),
      stall: (ms, take) => {
        stallThread(ms);
        take(undefined);
      },
      close: (graceMs, take) => {
        void running(server)
          .close(graceMs)
          .then(() => take(undefined));
      },
    },
    () => door.onBell(),
  );
  const ring = () => calls.ring();
  const intake = new Intake(shareOf(start.threads - 1));
  const door = new ThreadDoor(
    new SendingEnd(start.sending, ring),
    new ReceivingEnd(start.receiving, ring),
    intake,
  );
  const nodeWide: NodeWide = {
    threads: start.threads,
    thread: start.thread,
    get connections() {
      return counts.connections;
    },
    admit: (max) => counts.admit(max),
    left: () => counts.left(),
    report: (take) => calls.ask("report", undefined, take),
    clients: (take) => calls.ask("clients", undefined, take),
    configure: (pairs, take) =>
      calls.ask("configure", pairs, (refusal) =>
        take(refusal === undefined ? undefined : new Refusal(refusal.code, refusal.message)),
      ),
    resetCounters: (done) => calls.ask("resetCounters", undefined, () => done()),
    stall: (ms, done) => calls.ask("stall", ms, () => done()),
  };
  door.start();
}

function running(server: RespServer | undefined): RespServer {
  assert(server !== undefined, "a thread is asked about its server once it listens");
  return server;
}

/** What one of so many threads may take at a time, so that all together take as much as one would. */
function shareOf(threads: number): IntakeLimits {
  const { unansweredMax, unansweredResume } = INTAKE_LIMITS;
  return {
    ...INTAKE_LIMITS,
    unansweredMax: Math.ceil(unansweredMax / threads),
    unansweredResume: Math.ceil(unansweredResume / threads),
  };
}

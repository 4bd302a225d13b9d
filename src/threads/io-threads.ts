/**
 * The threads of a node that take its clients' connections, as the main thread sees them, which has the core: starts them, lets
 * them listen on one port, and puts together what concerns all of them.
 */

import { Worker } from "node:worker_threads";
import { assert } from "../kit/assert.ts";
import type { CommandCounts } from "../node/metrics.ts";
import type { NodeDoor } from "../router/door.ts";
import type { Router } from "../router/router.ts";
import { noCounts } from "../server/counters.ts";
import {
  memoryCounts,
  type ServerReport,
  type SettingPairs,
  stallThread,
  sumReports,
} from "../server/node-wide.ts";
import type { InitialSettings } from "../server/settings.ts";
import { type Answers, Calls } from "./calls.ts";
import { createLane, ReceivingEnd, SendingEnd } from "./lane.ts";
import { DeskLink, OperationDesk } from "./operation-desk.ts";
import type { NodeQuestions, ThreadQuestions, ThreadStart } from "./questions.ts";
import { SharedCounts } from "./shared-counts.ts";

export interface IoThreadsOptions extends InitialSettings {
  /** Address to listen on, such as `127.0.0.1`. */
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Threads of the node, the main one included: 2 or more. */
  readonly threads: number;
  readonly door: NodeDoor;
  /** The one that the main thread's servers use. */
  readonly router: Router;
  /** Of HotHot, for INFO. */
  readonly version: string;
  /** Allows DEBUG SLEEP: for tests only. */
  readonly enableDebug: boolean;
  /** Upper bounds of the latencies' buckets, ascending, s. */
  readonly latencySeconds: readonly number[];
  /** A thread has failed, or ended. It should end the process. */
  readonly fatal: (error: unknown) => void;
}

type ThreadCalls = Calls<ThreadQuestions, NodeQuestions>;

export class IoThreads {
  readonly #options: IoThreadsOptions;
  readonly #counts = new SharedCounts();
  readonly #desk: OperationDesk;
  readonly #threads: ThreadCalls[] = [];
  /** What threads have asked that waits until all of them listen; undefined once they do. */
  #early: (() => void)[] | undefined = [];
  readonly #answers: Answers<NodeQuestions> = {
    report: (_nothing, take) => this.#whenListening(() => this.#report(take)),
    clients: (_nothing, take) =>
      this.#whenListening(() =>
        this.#askAll("clients", undefined, (lists) =>
          take(lists.flat().sort((one, other) => one.id - other.id)),
        ),
      ),
    configure: (pairs, take) => this.#whenListening(() => this.#configure(pairs, take)),
    resetCounters: (_nothing, take) =>
      this.#whenListening(() => this.#askAll("resetCounters", undefined, () => take(undefined))),
    stall: (ms, take) =>
      this.#whenListening(() => {
        this.#askAll("stall", ms, () => take(undefined));
        stallThread(ms);
      }),
  };

  constructor(options: IoThreadsOptions) {
    assert(options.threads >= 2, "one thread needs no others");
    this.#options = options;
    this.#desk = new OperationDesk(options.door, options.router, (configuration) => {
      for (const thread of this.#threads) {
        thread.ask("configuration", configuration, () => undefined);
      }
    });
    for (let thread = 1; thread < options.threads; thread += 1) this.#start(thread);
  }

  /** Open connections. */
  get connectionCount(): number {
    return this.#counts.connections;
  }

  /**
   * Lets all threads take connections.
   * @returns the port.
   * @throws Error with Node's code, such as `EADDRINUSE`, if that cannot be.
   */
  async listen(): Promise<number> {
    const { host, port } = this.#options;
    const [first, ...others] = this.#threads;
    assert(first !== undefined, "there is a thread that listens");
    const bound = await listening(first, { host, port });
    // One descriptor for all: whoever has time takes the next connection, and the port cannot be taken by another process.
    const { descriptor } = bound;
    if (descriptor < 0 && others.length > 0) {
      throw new Error(
        "this system lets only one thread listen: no more than 2 threads can be used",
      );
    }
    for (const other of others) await listening(other, { host, port: bound.port, descriptor });
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const ask of early) ask();
    return bound.port;
  }

  /** Tells the threads of a new configuration, if there is one. */
  noteConfiguration(): void {
    this.#desk.noteConfiguration();
  }

  /** What the threads have counted since this was called last. */
  tallies(): Promise<readonly CommandCounts[]> {
    return new Promise((resolve) => this.#askAll("tallies", undefined, resolve));
  }

  /**
   * Takes no more connections and requests, lets pending answers go out, then closes. The threads end with the process.
   * @param graceMs how long answers may take before connections are cut.
   */
  close(graceMs: number): Promise<void> {
    return new Promise((resolve) => this.#askAll("close", graceMs, () => resolve()));
  }

  #start(thread: number): void {
    const { enableDebug, fatal, latencySeconds, threads, version } = this.#options;
    const { maxClients, requirePass, timeoutSeconds } = this.#options;
    const there = createLane();
    const back = createLane();
    const start: ThreadStart = {
      sending: there.sending,
      receiving: back.receiving,
      counts: this.#counts.memory,
      threads,
      thread,
      settings: {
        ...(maxClients === undefined ? {} : { maxClients }),
        ...(requirePass === undefined ? {} : { requirePass }),
        ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
      },
      enableDebug,
      version,
      latencyBoundsMs: latencySeconds.map((seconds) => seconds * 1000),
    };
    const worker = new Worker(new URL("./io-thread.js", import.meta.url), {
      workerData: start,
      transferList: [start.sending.large, start.receiving.large],
    });
    worker.on("error", fatal);
    worker.on("exit", () => fatal(new Error("a thread has ended")));
    const calls: ThreadCalls = new Calls(worker, this.#answers, () => this.#desk.onBell(link));
    const ring = () => calls.ring();
    const link: DeskLink = new DeskLink(
      new SendingEnd(back.sending, ring),
      new ReceivingEnd(there.receiving, ring),
    );
    this.#threads.push(calls);
    this.#desk.add(link);
  }

  #whenListening(ask: () => void): void {
    if (this.#early === undefined) ask();
    else this.#early.push(ask);
  }

  /** Asks all threads the same. @param take is told their answers, once all are there. */
  #askAll<Name extends keyof ThreadQuestions & string>(
    name: Name,
    ask: ThreadQuestions[Name]["ask"],
    take: (answers: ThreadQuestions[Name]["answer"][]) => void,
  ): void {
    const answers: ThreadQuestions[Name]["answer"][] = [];
    let left = this.#threads.length;
    for (const [index, thread] of this.#threads.entries()) {
      thread.ask(name, ask, (answer) => {
        answers[index] = answer;
        left -= 1;
        if (left === 0) take(answers);
      });
    }
  }

  #report(take: (report: NodeQuestions["report"]["answer"]) => void): void {
    this.#askAll("report", undefined, (reports) => {
      const own: ServerReport = { counters: noCounts(), memory: memoryCounts() };
      const { door } = this.#options;
      const status = door.status();
      take({ ...sumReports([own, ...reports]), status, configuration: door.configuration() });
    });
  }

  /** They all have the same settings, so that what the first takes or refuses the others take or refuse, too. */
  #configure(
    pairs: SettingPairs,
    take: (refusal: NodeQuestions["configure"]["answer"]) => void,
  ): void {
    this.#threads[0]?.ask("configure", pairs, (refusal) => {
      if (refusal !== undefined) take(refusal);
      else this.#askAll("configure", pairs, () => take(undefined));
    });
  }
}

type ListenQuestion = ThreadQuestions["listen"];

/** @throws Error with Node's code if the thread cannot listen there. */
function listening(
  thread: ThreadCalls,
  where: ListenQuestion["ask"],
): Promise<Extract<ListenQuestion["answer"], { readonly kind: "listening" }>> {
  return new Promise((resolve, reject) => {
    thread.ask("listen", where, (answer) => {
      if (answer.kind === "listening") resolve(answer);
      else reject(Object.assign(new Error(answer.message), { code: answer.code }));
    });
  });
}

/** The load generator as seen by the benchmark: a process for each protocol, which takes one job at a time. */

import { type ChildProcess, fork } from "node:child_process";
import { resolve } from "node:path";
import type { Answer, LoadJob, LoadResult, Protocol } from "./load/job.ts";

const SCRIPT = resolve(import.meta.dirname, "load/generator.js");
/** More than any job takes. */
const JOB_MS_MAX = 10 * 60_000;

export class Generators {
  readonly #processes = new Map<Protocol, ChildProcess>();

  /** @throws Error if the load could not be brought to an end. */
  async run(job: LoadJob): Promise<LoadResult> {
    const child = this.#processFor(job.protocol);
    const answer = await new Promise<Answer>((done, reject) => {
      const timer = setTimeout(
        () => finish(() => reject(new Error("the load does not end"))),
        JOB_MS_MAX,
      );
      const onMessage = (message: unknown): void => finish(() => done(message as Answer));
      const onExit = (): void => {
        this.#processes.delete(job.protocol);
        finish(() => reject(new Error("the load generator ended")));
      };
      const finish = (then: () => void): void => {
        clearTimeout(timer);
        child.off("message", onMessage);
        child.off("exit", onExit);
        then();
      };
      child.on("message", onMessage);
      child.on("exit", onExit);
      child.send(job);
    });
    if (answer.kind === "failed") throw new Error(answer.reason);
    return answer.result;
  }

  stop(): void {
    for (const child of this.#processes.values()) child.disconnect();
    this.#processes.clear();
  }

  #processFor(protocol: Protocol): ChildProcess {
    let child = this.#processes.get(protocol);
    if (child === undefined) {
      child = fork(SCRIPT, [], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
      this.#processes.set(protocol, child);
    }
    return child;
  }
}

/**
 * Watches the processes of a cluster that runs: tells what becomes of them, and starts those again that end by themselves.
 * What `hothot kill` ended stays down until `hothot start`. It judges by what stands in the state directory and never by
 * what it saw change, because other programs start and end processes at the same time.
 */

import {
  type ClusterState,
  isKeptDown,
  latestState,
  launch,
  logPath,
  planOf,
  processNames,
  processOf,
} from "./cluster-state.ts";
import {
  type ProcessEnding,
  type ProcessIdentity,
  type ProcessStanding,
  pause,
  processStanding,
  signalProcess,
} from "./processes.ts";
import {
  ENDS_THAT_ALARM,
  RESTART_WAITS,
  RestartPolicy,
  type RestartWaits,
} from "./restart-policy.ts";
import { logTail, type Report } from "./supervisor.ts";

const WATCH_INTERVAL_MS = 250;
const ENDING_MS = 20;
/** Exit statuses of `hothot node` and `hothot witness` that say what kind of trouble it was. */
const MEANINGS: Readonly<Record<number, string>> = {
  64: "wrong options; starting it again cannot help",
  70: "a bug; please report it with its log",
  78: "it does not belong to the cluster that it was told of; starting it again cannot help",
  134: "aborted: most likely its heap was full",
};

/** How a cluster is watched. */
export interface WatchOptions {
  readonly report: Report;
  /** Ends the watch when it is set. */
  readonly stopping: AbortSignal;
  /** How processes ended, by name; the watch adds those that it starts. */
  readonly endings: Map<string, ProcessEnding>;
  /** Whether what ends by itself is started again. */
  readonly restarts: boolean;
  readonly waits?: RestartWaits;
}

/**
 * Watches until `stopping` is set, also nodes that join meanwhile, once they were started, and not those that are removed.
 * Returns when it starts nothing any more.
 */
export async function watchCluster(state: ClusterState, options: WatchOptions): Promise<void> {
  const keepers = new Map(
    processNames(state).map((id) => [id, new Keeper(state, id, options)] as const),
  );
  while (!options.stopping.aborted) {
    const latest = latestState(state);
    const names = new Set(processNames(latest));
    for (const id of names) {
      if (keepers.has(id) || processOf(latest, id) === undefined) continue;
      keepers.set(id, new Keeper(latest, id, options));
      options.report(`${id} has joined`);
    }
    for (const [id, keeper] of keepers) {
      if (names.has(id)) await keeper.look();
      else {
        keepers.delete(id);
        options.report(`${id} was removed`);
      }
      if (options.stopping.aborted) return;
    }
    await pauseUnless(options.stopping, WATCH_INTERVAL_MS);
  }
}

/** What the watch knows of one process. */
class Keeper {
  readonly #state: ClusterState;
  readonly #id: string;
  readonly #options: WatchOptions;
  readonly #policy: RestartPolicy;
  #identity: ProcessIdentity | undefined;
  #standing: ProcessStanding;
  /** When the process was first seen, by the monotonic clock, ms. */
  #seenAt = performance.now();
  /** When it is to be started again; undefined while it runs or is to stay down. */
  #restartAt: number | undefined;

  constructor(state: ClusterState, id: string, options: WatchOptions) {
    this.#state = state;
    this.#id = id;
    this.#options = options;
    this.#policy = new RestartPolicy(options.waits ?? RESTART_WAITS);
    this.#identity = processOf(state, id);
    this.#standing = standing(this.#identity);
    // What has ended before the watch began is told as if it ended now.
    if (this.#standing === "gone") this.#standing = "running";
  }

  /** Notices what has changed, and starts the process if it is time to. */
  async look(): Promise<void> {
    const identity = processOf(this.#state, this.#id);
    // A file that somebody has removed says nothing about the process.
    if (identity !== undefined && !isSame(identity, this.#identity)) this.#becomeOther(identity);
    const now = standing(this.#identity);
    // A process is seen to be gone a moment before this one, its parent, is told how it ended.
    if (now === "gone" && this.#standing !== "gone") await pause(ENDING_MS);
    if (now !== this.#standing) this.#becomeStanding(now);
    if (this.#standing === "gone") await this.#startIfDue();
  }

  /** Somebody else has started it. */
  #becomeOther(identity: ProcessIdentity): void {
    this.#identity = identity;
    this.#seenAt = performance.now();
    this.#restartAt = undefined;
    this.#policy.forget();
    // Running until seen otherwise, so that its end is not missed if that came first.
    this.#standing = "running";
    this.#options.report(`${this.#id} was started again`);
  }

  #becomeStanding(now: ProcessStanding): void {
    this.#standing = now;
    const id = this.#id;
    switch (now) {
      case "paused":
        this.#options.report(`${id} is paused; let it go on with: hothot resume ${id}`);
        return;
      case "running":
        this.#options.report(`${id} goes on`);
        return;
      case "gone":
        this.#onEnd();
        return;
    }
  }

  #onEnd(): void {
    const id = this.#id;
    const { report, restarts } = this.#options;
    if (isKeptDown(this.#state, id)) {
      report(`${id} was killed on demand and ${this.#downText()}`);
      return;
    }
    const what = `${id} has ended${this.#howItEnded()}; ${this.#consequence()}`;
    if (!restarts) {
      report(`${what}. Start it again with: hothot start ${id}${this.#lastWords()}`);
      return;
    }
    this.#planRestart(performance.now() - this.#seenAt, what);
  }

  /** @param ranMs how long it ran, ms. */
  #planRestart(ranMs: number, what: string): void {
    const { waitMs, endsInARow } = this.#policy.ended(ranMs);
    const id = this.#id;
    this.#restartAt = performance.now() + waitMs;
    const again = `${what}. It is started again in ${formatMs(waitMs)}${this.#lastWords()}`;
    if (endsInARow < ENDS_THAT_ALARM) {
      this.#options.report(again);
      return;
    }
    this.#options.report(
      `${again}\n  It has ended ${endsInARow} times in a row, so something is wrong with it. Look at ${logPath(this.#state, id)}, ` +
        `at free memory and disk, and at who else uses its ports. It is tried again all the time; to stop that: hothot kill ${id}`,
    );
  }

  async #startIfDue(): Promise<void> {
    if (this.#restartAt === undefined) return;
    if (isKeptDown(this.#state, this.#id)) {
      this.#restartAt = undefined;
      this.#options.report(`${this.#id} ${this.#downText()}`);
      return;
    }
    if (performance.now() < this.#restartAt) return;
    this.#restartAt = undefined;
    const id = this.#id;
    try {
      this.#identity = await launch(this.#state, planOf(this.#state, id), (ending) => {
        this.#options.endings.set(id, ending);
      });
      this.#standing = "running";
      this.#seenAt = performance.now();
      this.#options.report(`${id} is started again`);
      // Killed on demand between the look and the start.
      if (isKeptDown(this.#state, id)) signalProcess(this.#identity, "SIGKILL");
    } catch (error) {
      // Perhaps somebody else has just started it; the next look tells.
      if (standing(processOf(this.#state, id)) !== "gone") return;
      const why = error instanceof Error ? error.message : String(error);
      this.#planRestart(0, `${id} could not be started: ${why}`);
    }
  }

  #downText(): string {
    return `stays down; ${this.#consequence()}. Bring it back with: hothot start ${this.#id}`;
  }

  #consequence(): string {
    return this.#id === this.#state.witness.id
      ? "the nodes serve on, but cannot fail over without it"
      : "the others serve on";
  }

  #howItEnded(): string {
    const ending = this.#options.endings.get(this.#id);
    // Whoever else started it is not told how it ended, and neither is this process.
    if (ending === undefined || ending.pid !== this.#identity?.pid) return "";
    return ` (${describeEnding(ending)})`;
  }

  #lastWords(): string {
    const words = wordsOf(logTail(this.#state, this.#id, 1));
    return words === "" ? "" : `\n  last in its log: ${words}`;
  }
}

/** @returns such as `status 1` or `SIGKILL: …`. */
export function describeEnding(ending: Omit<ProcessEnding, "pid">): string {
  if (ending.signal !== null) {
    const { signal } = ending;
    if (signal === "SIGKILL") {
      return "SIGKILL: killed by hand, or by the system because memory was short; dmesg tells";
    }
    return signal === "SIGABRT" ? "SIGABRT: aborted; most likely its heap was full" : signal;
  }
  const status = ending.status ?? 0;
  const meaning = MEANINGS[status];
  return meaning === undefined ? `status ${status}` : `status ${status}: ${meaning}`;
}

/** The message of a line of a log, which is JSON unless the process died of something else; not all of what is long. */
function wordsOf(line: string): string {
  let words = line;
  try {
    const { msg } = JSON.parse(line) as { readonly msg?: unknown };
    if (typeof msg === "string") words = msg;
  } catch {
    // Not a line of the logger: the end of a stack trace, say.
  }
  return words.length > 200 ? `${words.slice(0, 200)}…` : words;
}

function standing(identity: ProcessIdentity | undefined): ProcessStanding {
  return identity === undefined ? "gone" : processStanding(identity);
}

function isSame(one: ProcessIdentity, other: ProcessIdentity | undefined): boolean {
  return one.pid === other?.pid && one.startedAt === other?.startedAt;
}

function formatMs(ms: number): string {
  return ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`;
}

function pauseUnless(stopping: AbortSignal, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      stopping.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    stopping.addEventListener("abort", done);
    if (stopping.aborted) done();
  });
}

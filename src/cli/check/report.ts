/** What `hothot check` found, as data and as lines for people. */

import type { OperationRecord } from "../../history/history.ts";
import { describeJudgement, type Judgement } from "../../history/judge.ts";
import { formatTable } from "../output.ts";
import { explains } from "./allowances.ts";
import type { FaultKind } from "./fault-kinds.ts";
import { longestGap, median, type Successes } from "./gaps.ts";
import type { Fault, ReportedFailover } from "./nemesis.ts";

/** An operation that did not succeed, and the fault that it may be due to. */
export interface ClientError {
  readonly node: string;
  /** Span from the question to the answer, ms since the run began. */
  readonly from: number;
  readonly to: number;
  readonly why: string;
}

/** A fault with what clients felt. Times in ms. */
export interface FaultReport extends Fault {
  /** Longest gap without a successful write in a shard, until the fault was taken back. */
  readonly gapMs: number;
  readonly gapShard: string | undefined;
  /** The same over the shards whose primary the node was; undefined if it led none with keys. */
  readonly primaryGapMs: number | undefined;
  /** Longest gap without any success at each node that lived, from the fault until all was whole. */
  readonly nodeGapMs: Readonly<Record<string, number>>;
  /** Errors that clients of the nodes that it hit saw meanwhile. */
  readonly errorsOnHit: number;
  /** Errors that clients of other nodes saw meanwhile. */
  readonly errorsElsewhere: number;
  /** Those of both that no fault of their own time explains, if this is the first of those. */
  readonly unexplained: readonly ClientError[];
}

/** All faults of one kind together. */
export interface KindReport {
  readonly kind: FaultKind;
  readonly count: number;
  /** Over the gaps of all; ms. */
  readonly medianGapMs: number;
  readonly longestGapMs: number;
  readonly errorsOnHit: number;
  readonly errorsElsewhere: number;
}

/** Everything that a run gave; what `--json` prints. Times in ms. */
export interface CheckReport {
  readonly seed: number;
  readonly verdict: "ok" | "violated";
  /** One sentence for each thing that does not hold; empty if the verdict is ok. */
  readonly violations: readonly string[];
  readonly durationMs: number;
  readonly operations: {
    readonly total: number;
    readonly perSecond: number;
    readonly byOutcome: Readonly<Record<string, number>>;
    readonly byKind: Readonly<Record<string, number>>;
  };
  readonly judgement: {
    readonly verdict: Judgement["verdict"];
    readonly components: number;
    readonly steps: number;
    readonly ms: number;
    readonly explanation: readonly string[];
  };
  readonly acknowledgedWritesMissing: number;
  /** Longest gap without a successful write over the whole run. */
  readonly longestGapMs: Readonly<Record<string, number>>;
  readonly faults: readonly FaultReport[];
  readonly kinds: readonly KindReport[];
  readonly failovers: readonly ReportedFailover[];
  readonly errors: readonly { readonly why: string; readonly count: number }[];
  readonly history: string | undefined;
  readonly reproduce: string;
}

/** @returns each fault with the gaps around it. */
export function reportFaults(
  faults: readonly Fault[],
  successes: Successes,
  errors: readonly ClientError[],
  groupOfShard: (shard: number) => string,
  endMs: number,
): FaultReport[] {
  const unexplainedOf = groupUnexplained(faults, errors, endMs);
  return faults.map((fault) => {
    const readyAt = fault.readyAt ?? endMs;
    // A transfer has no time in which it lasts, so what follows it counts too.
    const to = fault.kind === "transfer" ? readyAt : fault.healedAt;
    let gapMs = 0;
    let gapShard: string | undefined;
    for (const [group, times] of successes.byGroup) {
      const gap = longestGap(times, fault.beganAt, to);
      if (gap > gapMs) {
        gapMs = gap;
        gapShard = group;
      }
    }
    const primaryGaps = fault.shards.flatMap((shard) => {
      const times = successes.byGroup.get(groupOfShard(shard));
      return times === undefined ? [] : [longestGap(times, fault.beganAt, to)];
    });
    const nodeGapMs: Record<string, number> = {};
    for (const [node, times] of successes.byNode) {
      if (!fault.hit.includes(node)) nodeGapMs[node] = longestGap(times, fault.beganAt, readyAt);
    }
    const meanwhile = errors.filter((error) => overlaps(error, fault.beganAt, readyAt));
    const errorsOnHit = meanwhile.filter((error) => fault.hit.includes(error.node)).length;
    return {
      ...fault,
      gapMs,
      gapShard,
      primaryGapMs: primaryGaps.length === 0 ? undefined : Math.max(...primaryGaps),
      nodeGapMs,
      errorsOnHit,
      errorsElsewhere: meanwhile.length - errorsOnHit,
      unexplained: unexplainedOf.get(fault) ?? [],
    };
  });
}

/**
 * Errors in the time of faults none of which explains them, by the first of those faults. An operation that hangs in one
 * fault can end in the next: what a cable swallowed is sent again seconds later, to a node that has been killed meanwhile.
 */
function groupUnexplained(
  faults: readonly Fault[],
  errors: readonly ClientError[],
  endMs: number,
): Map<Fault, ClientError[]> {
  const byFault = new Map<Fault, ClientError[]>();
  for (const error of errors) {
    const around = faults.filter((each) => overlaps(error, each.beganAt, each.readyAt ?? endMs));
    const [first] = around;
    if (first === undefined) continue;
    if (around.some((each) => explains(each.kind, each.hit.includes(error.node), error.why)))
      continue;
    byFault.set(first, [...(byFault.get(first) ?? []), error]);
  }
  return byFault;
}

/** @returns the errors that no fault explains. */
export function unexplained(
  errors: readonly ClientError[],
  faults: readonly Fault[],
): ClientError[] {
  return errors.filter(
    (error) =>
      !faults.some((fault) =>
        overlaps(error, fault.beganAt, fault.readyAt ?? Number.POSITIVE_INFINITY),
      ),
  );
}

/** @returns operations by outcome and by kind, the most frequent first. */
export function countOperations(history: readonly OperationRecord[]): {
  readonly byOutcome: Readonly<Record<string, number>>;
  readonly byKind: Readonly<Record<string, number>>;
} {
  const byOutcome: Record<string, number> = { ok: 0, failed: 0, unknown: 0 };
  const byKind: Record<string, number> = {};
  for (const operation of history) {
    byOutcome[operation.outcome] = (byOutcome[operation.outcome] ?? 0) + 1;
    const kind = operation.action.kind;
    byKind[kind] = (byKind[kind] ?? 0) + 1;
  }
  const sorted = Object.entries(byKind).sort(([, left], [, right]) => right - left);
  return { byOutcome, byKind: Object.fromEntries(sorted) };
}

/** @returns what the faults of each kind that occurred have in common. */
export function reportKinds(faults: readonly FaultReport[]): KindReport[] {
  return [...new Set(faults.map((fault) => fault.kind))].map((kind) => {
    const same = faults.filter((fault) => fault.kind === kind);
    const gaps = same.map((fault) => fault.gapMs);
    return {
      kind,
      count: same.length,
      medianGapMs: median(gaps) ?? 0,
      longestGapMs: Math.max(...gaps),
      errorsOnHit: same.reduce((sum, fault) => sum + fault.errorsOnHit, 0),
      errorsElsewhere: same.reduce((sum, fault) => sum + fault.errorsElsewhere, 0),
    };
  });
}

/** @returns the report as lines. */
export function describeReport(report: CheckReport): string[] {
  const { operations, judgement } = report;
  const lines = [
    `operations: ${operations.total} in ${ms(report.durationMs / 1000)} s (${operations.perSecond} a second): ${counts(operations.byOutcome)}`,
    `  ${counts(operations.byKind)}`,
  ];
  if (report.errors.length > 0) {
    lines.push("answers other than success:");
    for (const error of report.errors) lines.push(`  ${error.count} × ${error.why}`);
  }
  const gaps = Object.entries(report.longestGapMs);
  if (gaps.length > 0) {
    lines.push("longest gap without a successful write, ms:");
    lines.push(`  ${gaps.map(([group, gap]) => `${group}: ${ms(gap)}`).join(", ")}`);
  }
  if (report.faults.length > 0) {
    lines.push("", ...describeFaults(report.faults));
    lines.push("", ...describeKinds(report.kinds));
  }
  if (report.failovers.length > 0) lines.push("", ...describeFailovers(report.failovers));
  lines.push(
    "",
    `judged ${judgement.components} keys or groups of keys in ${ms(judgement.ms)} ms: ${judgement.verdict}`,
    `acknowledged writes missing: ${report.acknowledgedWritesMissing}`,
    ...judgement.explanation,
    "",
  );
  if (report.verdict === "ok") lines.push("verdict: ok, all holds");
  else lines.push("verdict: VIOLATED", ...report.violations.map((violation) => `  ${violation}`));
  lines.push(`again: ${report.reproduce}`);
  if (report.history !== undefined) {
    lines.push(`judge this history again: hothot check --judge ${report.history}`);
  }
  return lines;
}

function describeFaults(faults: readonly FaultReport[]): string[] {
  const rows = faults.map((fault) => [
    `${ms(fault.beganAt / 1000)} s`,
    fault.what,
    ms(fault.gapMs),
    fault.primaryGapMs === undefined ? "-" : ms(fault.primaryGapMs),
    Object.entries(fault.nodeGapMs)
      .map(([node, gap]) => `${node} ${ms(gap)}`)
      .join(", "),
    fault.readyAt === undefined ? "never" : ms(fault.readyAt - fault.healedAt),
    String(fault.errorsElsewhere),
  ]);
  const header = [
    "at",
    "fault",
    "gap ms",
    "of its shards",
    "gap at other nodes",
    "whole after ms",
    "errors elsewhere",
  ];
  return formatTable(header, rows);
}

function describeKinds(kinds: readonly KindReport[]): string[] {
  const rows = kinds.map((each) => [
    each.kind,
    String(each.count),
    ms(each.medianGapMs),
    ms(each.longestGapMs),
    String(each.errorsOnHit),
    String(each.errorsElsewhere),
  ]);
  const header = ["kind", "faults", "median gap ms", "longest", "errors at those hit", "elsewhere"];
  return formatTable(header, rows);
}

/** One row for each set of nodes that was removed at about one time, as each node saw it. */
function describeFailovers(failovers: readonly ReportedFailover[]): string[] {
  const groups = new Map<string, ReportedFailover[]>();
  for (const failover of failovers) {
    const name = `${failover.removed.join("+") || "-"} seen by ${failover.seenBy} ${Math.round(failover.atWallMs / 2_000)}`;
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [failover]);
    else group.push(failover);
  }
  const rows = [...groups.values()].map((group) => {
    const first = group[0];
    const detections = group.flatMap((each) =>
      each.detectionMs === undefined ? [] : [each.detectionMs],
    );
    return [
      first === undefined ? "" : new Date(first.atWallMs).toISOString().slice(11, 23),
      first?.removed.join(" ") ?? "",
      first?.seenBy ?? "",
      String(group.length),
      detections.length === 0 ? "-" : ms(Math.max(...detections)),
      ms(Math.max(...group.map((each) => each.reconfigurationMs))),
      ms(Math.max(...group.map((each) => each.gapMs))),
    ];
  });
  return formatTable(
    ["failover", "removed", "seen by", "shards", "T_F ms", "reconfigured ms", "T_C ms"],
    rows,
  );
}

/** @returns the report of a history that was judged offline, as lines. */
export function describeOffline(
  history: readonly OperationRecord[],
  judgement: Judgement,
): string[] {
  const { byOutcome, byKind } = countOperations(history);
  return [
    `operations: ${history.length}: ${counts(byOutcome)}`,
    `  ${counts(byKind)}`,
    `judged ${judgement.components} keys or groups of keys in ${judgement.steps} steps`,
    `acknowledged writes missing: ${judgement.lostWrites.length}`,
    ...describeJudgement(judgement),
    `verdict: ${judgement.verdict === "ok" ? "ok" : judgement.verdict === "illegal" ? "VIOLATED" : "unknown (no pass)"}`,
  ];
}

/** @returns an error as one line. */
export function describeError(error: ClientError): string {
  return `${error.node} at ${ms(error.from)} – ${ms(error.to)} ms: ${error.why}`;
}

function overlaps(error: ClientError, from: number, to: number): boolean {
  return error.to >= from && error.from <= to;
}

function counts(map: Readonly<Record<string, number>>): string {
  return Object.entries(map)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ");
}

function ms(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Math.round(value * 10) / 10);
}

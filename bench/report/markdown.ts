/** A run's results as a Markdown document. */

import {
  type Results,
  roundsOf,
  type SectionResult,
  type TargetResult,
  throughputOf,
} from "../results.ts";
import type { Measurement } from "../runner.ts";
import { spreadOf } from "../statistics.ts";
import type { StudyResult } from "../studies/study.ts";

/** Marks a median of which a round was disturbed each time it was tried. */
const DISTURBED = " ⚠";

/** @param chart file name of a section's chart, undefined if it has none. */
export function markdownOf(
  results: Results,
  chart: (section: SectionResult) => string | undefined,
): string {
  const { origin, sections, studies, targets } = results;
  const known = targets.filter((target) => target.isMet !== undefined);
  return [
    `# Benchmark of ${origin.startedAt.slice(0, 10)}, commit ${origin.commit}${origin.isModified ? " with changes" : ""}`,
    "How to read it: [docs/benchmark.md](../../../docs/benchmark.md).",
    listOf({ ...origin.machine, ...origin.versions, ...origin.options }),
    ...(known.length === 0 ? [] : ["## Targets", targetTable(known)]),
    ...sections.flatMap((section) => sectionParts(section, chart(section))),
    ...studies.flatMap(studyParts),
  ]
    .join("\n\n")
    .concat("\n");
}

/** What a terminal shows at the end: throughput and targets. */
export function summaryOf(results: Results): string {
  const known = results.targets.filter((target) => target.isMet !== undefined);
  return [
    ...results.sections.flatMap((section) => [
      `## ${section.title}`,
      throughputTable(section),
      ...section.failures,
    ]),
    ...results.studies.flatMap(studyParts),
    ...(known.length === 0 ? [] : [targetTable(known)]),
  ].join("\n\n");
}

function listOf(facts: Readonly<Record<string, string>>): string {
  return Object.entries(facts)
    .map(([name, value]) => `- ${name}: ${value}`)
    .join("\n");
}

function targetTable(targets: readonly TargetResult[]): string {
  return table(
    ["target", "bound", "measured", ""],
    targets.map(({ text, target, measured, isMet }) => [
      text,
      target,
      measured ?? "not measured",
      isMet === undefined ? "" : isMet ? "met" : "missed",
    ]),
  );
}

function sectionParts(section: SectionResult, chart: string | undefined): string[] {
  const writes = rowsOf(section, bytesOf);
  return [
    `## ${section.title}`,
    listOf(section.setups),
    ...(chart === undefined ? [] : [`![operations a second](${chart})`]),
    "Operations a second: median (least–most).",
    throughputTable(section),
    `Ratio of medians to ${section.systems[0]?.title ?? ""} (above 1: the other is faster).`,
    table(headOf(section), rowsOf(section, ratioOf)),
    "Latency of a batch, µs: p50 / p99 / p99.9.",
    table(headOf(section), rowsOf(section, latencyOf)),
    "Processor time for an operation, µs: all servers (each process) + load generator.",
    table(headOf(section), rowsOf(section, cpuOf)),
    ...(writes.length === 0
      ? []
      : ["Bytes that the servers sent to each other for a write.", table(headOf(section), writes)]),
    ...section.failures.map((failure) => `Not measured: ${failure}`),
  ];
}

function studyParts(study: StudyResult): string[] {
  return [
    `## ${study.title}`,
    study.note,
    table(study.head, study.rows),
    ...study.failures.map((failure) => `Not measured: ${failure}`),
  ];
}

function throughputTable(section: SectionResult): string {
  return table(
    headOf(section),
    rowsOf(section, (rounds) => {
      const { median, min, max } = throughputOf(rounds);
      const mark = rounds.some((each) => each.isDisturbed) ? DISTURBED : "";
      const errors = rounds.reduce((sum, each) => sum + each.errors + each.shortWaits, 0);
      const spread = rounds.length > 1 ? ` (${short(min)}–${short(max)})` : "";
      return `${short(median)}${spread}${mark}${errors > 0 ? ` ${errors} errors` : ""}`;
    }),
  );
}

function headOf(section: SectionResult): string[] {
  return ["", ...section.cells.map((cell) => cell.title)];
}

/** A row for each system that has a figure at all. */
function rowsOf(
  section: SectionResult,
  text: (rounds: readonly Measurement[], section: SectionResult, cell: string) => string,
): string[][] {
  return section.systems
    .map(({ name, title }) => [
      title,
      ...section.cells.map((cell) => {
        const rounds = roundsOf(section, name, cell.name);
        return rounds === undefined ? "" : text(rounds, section, cell.name);
      }),
    ])
    .filter((row) => row.slice(1).some((each) => each !== ""));
}

function ratioOf(rounds: readonly Measurement[], section: SectionResult, cell: string): string {
  const first = roundsOf(section, section.systems[0]?.name ?? "", cell);
  if (first === undefined) return "";
  return (throughputOf(rounds).median / throughputOf(first).median).toFixed(2);
}

function latencyOf(rounds: readonly Measurement[]): string {
  const of = (figure: (each: Measurement) => number): string =>
    short(spreadOf(rounds.map(figure)).median);
  return `${of((each) => each.latency.p50)} / ${of((each) => each.latency.p99)} / ${of((each) => each.latency.p999)}`;
}

function cpuOf(rounds: readonly Measurement[]): string {
  const of = (figure: (each: Measurement) => number): string =>
    spreadOf(rounds.map(figure)).median.toFixed(1);
  const names = Object.keys(rounds[0]?.cpuUs ?? {});
  const each = names
    .map((name) => of((measurement) => measurement.cpuUs[name] ?? 0))
    .filter((us) => us !== "0.0");
  const parts = each.length > 1 ? ` (${each.join(" ")})` : "";
  return `${of((measurement) => measurement.cpuUsInAll)}${parts} + ${of((measurement) => measurement.generatorCpuUs)}`;
}

function bytesOf(rounds: readonly Measurement[]): string {
  const known = rounds.flatMap((each) => each.bytesPerWrite ?? []);
  return known.length === 0 ? "" : spreadOf(known).median.toFixed(0);
}

/** Three digits that count. */
function short(value: number): string {
  if (value >= 10_000) return `${Math.round(value / 1_000)}k`;
  if (value >= 1_000) return `${(value / 1_000).toFixed(1)}k`;
  return value.toFixed(value >= 100 ? 0 : 1);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

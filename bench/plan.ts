/** What a run measures: sections, each of which compares some systems under some cells in interleaved rounds. */

import { CELLS, type CellKind, MAIN_CELLS } from "./cells.ts";
import type { SetupKind } from "./systems/setup.ts";
import { SYSTEMS, type SystemKind } from "./systems.ts";

export interface Section {
  readonly name: string;
  /** For headings. */
  readonly title: string;
  readonly systems: readonly SystemKind[];
  readonly cells: readonly CellKind[];
}

/** Everything; only the set-ups of one section run at a time. */
export const FULL: readonly Section[] = [
  section("replicated", "Every copy has a write before its answer", {
    systems: [
      ...["hothot3", "hothot3-routed", "redis-wait2", "redis-wait2-batch"],
      ...["redis-cluster", "redis-cluster-batch"],
    ],
    cells: [...MAIN_CELLS, "set-lone", "get-lone"],
  }),
  section("pairs", "Two copies", {
    systems: ["hothot2", "redis-wait1", "redis-wait1-batch"],
    cells: MAIN_CELLS,
  }),
  section("single", "One node, no copy", {
    systems: ["hothot1", "redis"],
    cells: [...MAIN_CELLS, "set64", "get64", "mixed64"],
  }),
  section("consensus", "Beside systems that agree by consensus", {
    systems: ["hothot3", "hothot3-fsync", "etcd", "nats"],
    cells: MAIN_CELLS,
  }),
  section("ways", "HotHot, other ways of use", {
    systems: ["hothot3", "hothot3-one", "hothot3-async"],
    cells: MAIN_CELLS,
  }),
  section("counter", "One hot key", {
    systems: ["hothot3", "redis"],
    cells: ["incr", "incr16"],
  }),
  section("loads", "Other loads", {
    systems: ["hothot3", "redis-wait2", "redis-wait2-batch"],
    cells: [
      ...["set64", "get64", "mixed64", "set-1000", "get-1000", "mixed-1000"],
      ...["set-1k", "get-1k", "set16-1k", "get16-1k", "set-64k", "get-64k"],
      ...["mixed-zipf", "mixed16-zipf"],
    ],
  }),
  section("ycsb", "YCSB", {
    systems: ["hothot3", "redis-wait2", "redis"],
    cells: ["ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-f"],
  }),
];

/** What continuous integration runs. */
export const QUICK: readonly Section[] = [
  section("replicated", "Every copy has a write before its answer", {
    systems: ["hothot3", "redis-wait2"],
    cells: MAIN_CELLS,
  }),
  section("single", "One node, no copy", {
    systems: ["hothot1", "redis"],
    cells: MAIN_CELLS,
  }),
];

/** One section of just these systems and cells. @throws Error if one of them does not exist. */
export function chosen(systems: readonly string[], cells: readonly string[]): Section {
  return section("chosen", "As chosen", { systems, cells });
}

/** The sections of these names. @throws Error if one of them does not exist. */
export function sectionsNamed(names: readonly string[]): Section[] {
  return names.map((name) => find(FULL, name, "section"));
}

function section(
  name: string,
  title: string,
  parts: { readonly systems: readonly string[]; readonly cells: readonly string[] },
): Section {
  return {
    name,
    title,
    systems: parts.systems.map(findSystem),
    cells: parts.cells.map(findCell),
  };
}

/**
 * Adds to each system that is HotHot the same of another build, to compare the two in the same rounds.
 * @param script the other build's `hothot.js`.
 */
export function withBase(section: Section, script: string): Section {
  const setups = new Map<SetupKind, SetupKind>();
  const baseOf = (setup: SetupKind): SetupKind => {
    const known = setups.get(setup);
    if (known !== undefined) return known;
    const base: SetupKind = {
      ...setup,
      name: `${setup.name}-base`,
      description: `${setup.description}; the build ${script}`,
      start: (options) => setup.start({ ...options, hothot: script }),
    };
    setups.set(setup, base);
    return base;
  };
  const systems = section.systems.flatMap((system) =>
    system.name.startsWith("hothot")
      ? [
          system,
          {
            ...system,
            name: `${system.name}-base`,
            title: `${system.title} (base)`,
            setup: baseOf(system.setup),
          },
        ]
      : [system],
  );
  return { ...section, systems };
}

/** @throws Error if there is none of this name. */
export function findSystem(name: string): SystemKind {
  return find(SYSTEMS, name, "system");
}

/** @throws Error if there is none of this name. */
export function findCell(name: string): CellKind {
  return find(CELLS, name, "cell");
}

function find<Kind extends { readonly name: string }>(
  all: readonly Kind[],
  name: string,
  what: string,
): Kind {
  const found = all.find((each) => each.name === name);
  if (found !== undefined) return found;
  throw new Error(
    `There is no ${what} ${name}. There are: ${all.map((each) => each.name).join(", ")}`,
  );
}

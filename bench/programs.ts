/** The peers' programs: installs what is missing where it can. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { SetupKind } from "./systems/setup.ts";

/** @returns programs that are still missing, each with how to get it. */
export function providePrograms(
  setups: readonly SetupKind[],
  report: (line: string) => void,
): Set<string> {
  const needs = setups.flatMap((setup) => setup.needs);
  const missing = needs.filter((need) => !hasProgram(need.program));
  const packages = [...new Set(missing.map((need) => need.debian))];
  if (packages.length > 0 && process.getuid?.() === 0 && hasProgram("apt-get")) {
    report(`installing ${packages.join(", ")}`);
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    spawnSync("apt-get", ["update", "-q"], { stdio: ["ignore", "ignore", "inherit"], env });
    // Debian starts a server after its installation; the benchmark starts its own.
    const args = ["install", "-y", "-q", "--no-install-recommends", ...packages];
    spawnSync("apt-get", args, {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...env, RUNLEVEL: "1" },
    });
  }
  const still = missing.filter((need) => !hasProgram(need.program));
  for (const { program, debian } of still)
    report(`${program} is missing, so what needs it is left out: apt-get install ${debian}`);
  return new Set(still.map((need) => need.program));
}

function hasProgram(name: string): boolean {
  return (process.env["PATH"] ?? "")
    .split(":")
    .some((folder) => folder !== "" && existsSync(join(folder, name)));
}

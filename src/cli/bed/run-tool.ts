/** Runs `ip` and `tc`, the two programs that a bed is made and broken with. */

import { execFile, execFileSync } from "node:child_process";
import { CliError } from "../cli-error.ts";

/** Both belong to iproute2. */
export type Tool = "ip" | "tc";

/** More than either ever takes; they only talk to the kernel. */
const TOOL_MS_MAX = 10_000;

/**
 * Runs a tool to its end.
 * @param lines what it reads from its standard input, if anything.
 * @returns what it printed.
 * @throws CliError with the tool's own words if it fails or is not there.
 */
export function runTool(
  tool: Tool,
  args: readonly string[],
  lines: readonly string[] = [],
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(tool, [...args], { timeout: TOOL_MS_MAX }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(failure(tool, args, error, stderr));
    });
    // What cannot be written ends the tool with an error of its own.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(lines.map((line) => `${line}\n`).join(""));
  });
}

/**
 * The same without giving up the thread, for what a process that is about to exit has to do.
 * @throws CliError as `runTool`.
 */
export function runToolSync(tool: Tool, args: readonly string[]): string {
  try {
    return execFileSync(tool, [...args], {
      timeout: TOOL_MS_MAX,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  } catch (error) {
    const stderr = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
    throw failure(tool, args, error, stderr);
  }
}

function failure(tool: Tool, args: readonly string[], error: unknown, stderr: string): CliError {
  const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
  if (isMissing) {
    return new CliError(`${tool} is not installed. On Debian: apt-get install iproute2`, {
      cause: error,
    });
  }
  const why = stderr.trim() === "" ? String(error) : stderr.trim();
  return new CliError(`${tool} ${args.join(" ")} failed: ${why}`, { cause: error });
}

/**
 * Loaded into a node that is to be profiled, before its own code: a first SIGUSR2 begins, a second ends and writes
 * `PID.cpuprofile` into the directory that the environment names.
 */

import { renameSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { join } from "node:path";

const SAMPLE_US = 250;

const dir = process.env["HOTHOT_PROFILES"];
const session = new Session();
session.connect();
let isRunning = false;

process.on("SIGUSR2", () => {
  if (dir === undefined) return;
  if (isRunning) end(join(dir, `${process.pid}.cpuprofile`));
  else begin();
});

function begin(): void {
  isRunning = true;
  session.post("Profiler.enable");
  session.post("Profiler.setSamplingInterval", { interval: SAMPLE_US });
  session.post("Profiler.start");
}

function end(file: string): void {
  isRunning = false;
  session.post("Profiler.stop", (error, result) => {
    if (error !== null) throw error;
    // Whoever waits for the file wants all of it.
    writeFileSync(`${file}.part`, JSON.stringify(result.profile));
    renameSync(`${file}.part`, file);
  });
}

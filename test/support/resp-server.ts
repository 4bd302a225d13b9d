/** A RESP server over shards in this very process, for the tests of what connections see. */

import type { TestContext } from "node:test";

import { Intake } from "../../src/server/intake.ts";
import { onlyServer } from "../../src/server/node-wide.ts";
import { INTAKE_LIMITS, RespServer, type RespServerOptions } from "../../src/server/resp-server.ts";
import { LocalDoor, type Pace } from "./local-door.ts";
import { RespClient } from "./resp-client.ts";
import { createThreadWay } from "./thread-way.ts";

export interface Setup {
  readonly server: RespServer;
  readonly door: LocalDoor;
  readonly port: number;
  connect(): Promise<RespClient>;
}

/** Ends with the test. */
export async function setUpServer(
  t: TestContext,
  options: Partial<RespServerOptions> & {
    readonly shards?: number;
    readonly pace?: Pace;
    /** Whether the door is at the end of a way as it is between two threads. */
    readonly isThreaded?: boolean;
  } = {},
): Promise<Setup> {
  const { shards = 1, pace = "now", isThreaded = false, ...rest } = options;
  const door = new LocalDoor(shards, pace);
  const intake = new Intake(INTAKE_LIMITS);
  const way = isThreaded ? createThreadWay(door, intake) : undefined;
  t.after(() => way?.close());
  const server = new RespServer({
    host: "127.0.0.1",
    port: 0,
    door: way?.door ?? door,
    intake,
    nodeWide: onlyServer(door),
    version: "0.0.0-test",
    ...rest,
  });
  const port = await server.listen();
  t.after(() => server.close(0));
  const connect = async () => {
    const client = await RespClient.connect(port);
    t.after(() => client.destroy());
    return client;
  };
  return { server, door, port, connect };
}

/** Words that scripts are written in. Times in virtual ms. */

import { Bytes } from "../../src/data/bytes.ts";
import { Command } from "../../src/data/command.ts";
import { Refusal, type Reply } from "../../src/data/reply.ts";
import { slotOf } from "../../src/kit/crc16.ts";
import type { NodeId } from "../../src/replica/configuration.ts";
import type { Request } from "../../src/replica/ports.ts";
import type { Shard } from "../../src/replica/shard.ts";
import type { SimNode } from "../node.ts";
import type { Workload } from "../workload.ts";
import type { SimOperation, World } from "../world.ts";

/** How often a condition is looked at: more often than anything arrives. */
const LOOK_EVERY_MS = 0.5;
/** How long a script waits for a condition that may never come. */
const WAIT_MS_MAX = 10_000;
const READER_PATIENCE_MS = 80;

/** Runs a step as soon as the condition holds; never, if it does not hold in ten seconds. */
export function when(world: World, condition: () => boolean, then: () => void): void {
  const untilMs = world.queue.nowMs + WAIT_MS_MAX;
  const look = (): void => {
    if (condition()) then();
    else if (world.queue.nowMs < untilMs) world.queue.after(LOOK_EVERY_MS, look);
  };
  look();
}

/** Blames the world unless the condition holds at some moment within so many ms. */
export function expectWithin(
  world: World,
  withinMs: number,
  what: string,
  condition: () => boolean,
  then: () => void = () => {},
): void {
  const untilMs = world.queue.nowMs + withinMs;
  const look = (): void => {
    if (condition()) then();
    else if (world.queue.nowMs < untilMs) world.queue.after(1, look);
    else world.blame(`${what}: not within ${withinMs} ms`);
  };
  look();
}

/** The node of that name; it must exist. */
export function nodeOf(world: World, id: NodeId): SimNode {
  const node = world.nodes.get(id);
  if (node === undefined) throw new Error(`the world has no node ${id}`);
  return node;
}

/** The only shard, or the first, as the register has it. */
export function recordOf(world: World): World["register"]["current"]["shards"][number] {
  const [record] = world.register.current.shards;
  if (record === undefined) throw new Error("the world has no shard");
  return record;
}

/** In-sync members of the first shard, as the register has it. */
export function membersOf(world: World): readonly NodeId[] {
  return recordOf(world).inSync.map(({ node }) => node);
}

/** The first shard at a node, if the node is up. */
export function shardAt(world: World, id: NodeId): Shard | undefined {
  return nodeOf(world, id).core?.shards[0];
}

/** Whether the first shard serves at a node now. */
export function servesAt(world: World, id: NodeId): boolean {
  const node = nodeOf(world, id);
  if (!node.isRunning || node.core === undefined) return false;
  return node.core.status(node.time).shards[0]?.serves === true;
}

/** A transaction that a division between its keys would tear. */
export const ON_BOTH_SIDES = {
  kind: "multi",
  actions: [
    { kind: "incr", key: "key0", by: 1 },
    { kind: "set", key: "key1", value: "in a transaction." },
  ],
} as const;

/** The first slot of the shard that has the later of two keys, if a shard is divided between them. */
export function betweenKeys(one: string, other: string): number {
  return Math.max(slotOf(one), slotOf(other));
}

/** Asks the primary of the shard that has a slot to divide it there; blames the world if it refuses. */
export function splitAt(world: World, slot: number): void {
  const record = world.register.current.shards.find(
    ({ firstSlot, lastSlot }) => firstSlot <= slot && slot <= lastSlot,
  );
  if (record === undefined) throw new Error(`no shard has the slot ${slot}`);
  nodeOf(world, record.primary).input((core, time) => {
    const refusal = core.split(record.id, slot, time);
    if (refusal !== undefined) world.blame(`the shard is not divided: ${refusal}`);
  });
}

/** Kills a node now and starts it again once it has been removed from the first shard and so much time has passed. */
export function crashUntilRemoved(world: World, id: NodeId, afterMs: number): void {
  world.crash(id);
  when(
    world,
    () => !membersOf(world).includes(id),
    () => world.queue.after(afterMs, () => world.restart(id)),
  );
}

/** Has a node of the first shard run a command that stands in no history. */
export function command(
  world: World,
  node: SimNode,
  words: readonly string[],
  onReply: (reply: Reply) => void = () => {},
): void {
  const isWrite = words[0] !== "GET";
  const request: Request = {
    commands: [Command.from(words)],
    isTransaction: false,
    isWrite,
    watched: [],
  };
  const answered = (reply: Reply): void =>
    onReply(reply instanceof Bytes ? reply.toString() : reply);
  const operation: SimOperation = { shard: 0, session: 0, request, answered };
  world.trace(node.id, () => `is told ${words.join(" ")}`);
  node.submit(operation);
}

/**
 * Clients that only read, so that no write of their own can hold up their reads, and clients that only write. Each
 * waits for its answer, a reader not for long.
 */
export function readAndWrite(
  world: World,
  workload: Workload,
  at: {
    readonly readers: readonly NodeId[];
    readonly writers: readonly NodeId[];
    readonly untilMs: number;
  },
): void {
  const { queue } = world;
  const draw = world.prng.fork();
  let written = 0;
  const write = (id: NodeId): void => {
    written += 1;
    const value = `script ${written}.`;
    workload.ask(nodeOf(world, id), [{ kind: "set", key: "key1", value }], () => {
      if (queue.nowMs < at.untilMs) queue.after(draw.between(5, 30), () => write(id));
    });
  };
  const read = (id: NodeId): void => {
    let isNext = false;
    const next = (): void => {
      if (isNext || queue.nowMs >= at.untilMs) return;
      isNext = true;
      queue.after(draw.between(2, 20), () => read(id));
    };
    workload.ask(nodeOf(world, id), [{ kind: "get", key: "key1" }], next);
    queue.after(READER_PATIENCE_MS, next);
  };
  for (const id of at.writers) queue.after(draw.between(200, 250), () => write(id));
  for (const id of at.readers) queue.after(draw.between(200, 250), () => read(id));
}

/** The node's disk takes nothing more, least of all what a client writes at this very moment. */
export function failDisk(world: World, workload: Workload, id: NodeId): void {
  const node = nodeOf(world, id);
  node.disk?.fail();
  workload.ask(node, [{ kind: "set", key: "key1", value: `of ${id}, never on its disk.` }]);
  node.input((core, time) => core.diskFailed(time));
}

/** The node gets another disk, with nothing on it. */
export function replaceDisk(world: World, id: NodeId): void {
  const node = nodeOf(world, id);
  node.input((core, time) => {
    node.disk?.replace();
    core.resumeShards(time);
  });
}

/** While no disk works, writes are refused at once, whoever is left. */
export function expectWriteRefusal(world: World, then: () => void): void {
  let code: string | undefined;
  command(world, nodeOf(world, recordOf(world).primary), ["SET", "aside", "refused"], (reply) => {
    code = reply instanceof Refusal ? reply.code : "none";
  });
  expectWithin(
    world,
    100,
    "writes are refused",
    () => code !== undefined,
    () => {
      if (code !== "MISCONF") world.blame(`a write while no disk works is answered ${code}`);
      then();
    },
  );
}

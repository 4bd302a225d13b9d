/**
 * A bed: a small network on this machine in which every process of a cluster has a network stack and an address of its own,
 * as machines have.
 *
 *     hothot-ID-n1      hothot-ID-n2      hothot-ID-witness      namespaces, each with one device, eth0
 *          │                 │                   │               pairs of virtual Ethernet devices
 *     ─────┴─────────────────┴───────────────────┴──────┬──      a bridge in the namespace hothot-ID-hub
 *                                                       │
 *                                                   hothot-ID    in the machine's own namespace: the clients' way in
 *
 * Nothing is ever touched but what carries the bed's own name.
 */

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { CliError } from "../cli-error.ts";
import { runTool, runToolSync } from "./run-tool.ts";

/** A process's place in the bed. */
export interface BedMember {
  /** The process's name in the cluster, and the name of its port of the bridge. */
  readonly id: string;
  /** Name of its network namespace. */
  readonly namespace: string;
  /** Its IPv4 address. */
  readonly address: string;
}

/** A bed as `cluster.json` holds it. */
export interface BedPlan {
  /** Part of every name; drawn by chance. */
  readonly id: string;
  /** The namespace with the bridge. */
  readonly hub: string;
  /** The bridge's own address, which whatever delays packets listens on. */
  readonly hubAddress: string;
  /** The device in the machine's own namespace, and its address. */
  readonly clientDevice: string;
  readonly clientAddress: string;
  readonly members: readonly BedMember[];
}

/** The one device of a member's namespace. */
export const MEMBER_DEVICE = "eth0";
/** The bridge. */
const BRIDGE = "br0";
/** The bridge's port to the machine's own namespace. */
const CLIENT_PORT = "client";
/** Where `ip netns` keeps its names. */
const NAMESPACES = "/run/netns";
/** Of 10.0.0.0/8, a part that is rarely used. The third byte is drawn; a bed has 256 addresses. */
const NETWORK = "10.213";
const HUB_HOST = 254;
const CLIENT_HOST = 253;
const DRAWS_MAX = 64;

/**
 * Draws the names and addresses of a bed. Nothing is made yet.
 * @param ids the cluster's processes, at most 250.
 * @throws CliError if no network is free.
 */
export function planBed(ids: readonly string[]): BedPlan {
  const network = freeNetwork();
  for (let draw = 0; draw < DRAWS_MAX; draw++) {
    const id = randomBytes(3).toString("hex");
    const hub = `hothot-${id}-hub`;
    if (existsSync(join(NAMESPACES, hub))) continue;
    return {
      id,
      hub,
      hubAddress: `${network}.${HUB_HOST}`,
      clientDevice: `hothot-${id}`,
      clientAddress: `${network}.${CLIENT_HOST}`,
      members: ids.map((member, index) => ({
        id: member,
        namespace: `hothot-${id}-${member}`,
        address: `${network}.${index + 1}`,
      })),
    };
  }
  throw new CliError("No name for a bed is free; see: ip netns list");
}

/**
 * @returns the place of a process in the bed.
 * @throws CliError if it has none.
 */
export function memberOf(bed: BedPlan, id: string): BedMember {
  const member = bed.members.find((each) => each.id === id);
  if (member === undefined) throw new CliError(`${id} has no place in the bed ${bed.id}.`);
  return member;
}

/**
 * Makes the bed's namespaces, devices and addresses.
 * @throws CliError if that is not possible on this machine; what was made until then is for `removeBed` to remove.
 */
export async function buildBed(bed: BedPlan): Promise<void> {
  checkRights();
  const { hub } = bed;
  await addNamespace(hub);
  await runTool("ip", ["-n", hub, "link", "add", BRIDGE, "type", "bridge"]);
  await runTool("ip", ["-n", hub, "address", "add", `${bed.hubAddress}/24`, "dev", BRIDGE]);
  await runTool("ip", ["-n", hub, "link", "set", BRIDGE, "up"]);
  for (const member of bed.members) {
    await addNamespace(member.namespace);
    await addPair(bed, member.id, ["name", MEMBER_DEVICE, "netns", member.namespace]);
    const inside = ["-n", member.namespace];
    await addAddress(inside, member.address, MEMBER_DEVICE);
    // Where the faults' filters go.
    await runTool("tc", ["-n", hub, "qdisc", "add", "dev", member.id, "clsact"]);
  }
  await addPair(bed, CLIENT_PORT, ["name", bed.clientDevice, "netns", String(process.pid)]);
  await addAddress([], bed.clientAddress, bed.clientDevice);
}

/**
 * Removes whatever there is of a bed, also of one that was made in part, and at once, so that it can be the last thing that a
 * process does.
 * @throws CliError that names what could not be removed.
 */
export function removeBed(bed: BedPlan): void {
  const troubles: string[] = [];
  const attempt = (args: readonly string[]): void => {
    try {
      runToolSync("ip", args);
    } catch (error) {
      troubles.push(error instanceof Error ? error.message : String(error));
    }
  };
  // The kernel takes a moment to remove a namespace's devices; this one is in the way of nobody at once.
  if (existsSync(`/sys/class/net/${bed.clientDevice}`)) {
    attempt(["link", "delete", bed.clientDevice]);
  }
  for (const namespace of [...bed.members.map((member) => member.namespace), bed.hub]) {
    if (existsSync(join(NAMESPACES, namespace))) attempt(["netns", "delete", namespace]);
  }
  if (troubles.length > 0) {
    throw new CliError(`The bed ${bed.id} could not be removed whole:\n${troubles.join("\n")}`);
  }
}

/**
 * Tries whether beds can be made here.
 * @returns why not, undefined if they can.
 */
export async function bedTrouble(): Promise<string | undefined> {
  const bed = planBed(["n1"]);
  try {
    await buildBed(bed);
    return undefined;
  } catch (error) {
    if (error instanceof CliError) return error.message;
    throw error;
  } finally {
    removeBed(bed);
  }
}

function checkRights(): void {
  if (process.platform !== "linux") {
    throw new CliError(
      "Network namespaces are a thing of Linux; this machine runs another system.",
    );
  }
  if (process.getuid?.() !== 0) {
    throw new CliError("Network namespaces take root's rights; run it with sudo.");
  }
}

async function addNamespace(name: string): Promise<void> {
  try {
    await runTool("ip", ["netns", "add", name]);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(
      `Cannot make a network namespace. It takes CAP_SYS_ADMIN and CAP_NET_ADMIN, which containers rarely have.\n${why}`,
      { cause: error },
    );
  }
  await runTool("ip", ["-n", name, "link", "set", "lo", "up"]);
}

/** Adds a port to the bridge. @param peer where the other end goes, as `ip link` takes it. */
async function addPair(bed: BedPlan, port: string, peer: readonly string[]): Promise<void> {
  const inside = ["-n", bed.hub];
  await runTool("ip", [...inside, "link", "add", port, "type", "veth", "peer", ...peer]);
  await runTool("ip", [...inside, "link", "set", port, "master", BRIDGE, "up"]);
}

async function addAddress(
  inside: readonly string[],
  address: string,
  device: string,
): Promise<void> {
  await runTool("ip", [...inside, "address", "add", `${address}/24`, "dev", device]);
  await runTool("ip", [...inside, "link", "set", device, "up"]);
}

/** @returns three bytes of a network that no device of this machine is in. */
function freeNetwork(): string {
  const taken = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .map((each) => each.address.split(".").slice(0, 3).join("."));
  const all = Array.from({ length: 256 }, (_, third) => `${NETWORK}.${third}`);
  const free = all.filter((network) => !taken.includes(network));
  const network = free[randomBytes(1).readUInt8() % (free.length || 1)];
  if (network === undefined) throw new CliError(`All networks of ${NETWORK}.0.0/16 are in use.`);
  return network;
}

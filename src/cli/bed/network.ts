/** What can be wrong with a bed's network, and how it is made so and taken back. */

import { CliError } from "../cli-error.ts";
import { endHelper, type Helper, startHelper } from "../helper-process.ts";
import { pause } from "../processes.ts";
import { type BedMember, type BedPlan, MEMBER_DEVICE, memberOf } from "./bed.ts";
import { dropAll, dropFrom, dropShare } from "./packet-filter.ts";
import { runTool, type Tool } from "./run-tool.ts";
import { TUNNEL_MAC } from "./tunnelled-packet.ts";

/** What is wrong at one member's place; all that is given at the same time. */
export interface Impairment {
  /** Members whose packets do not arrive here. What is sent to them does. */
  readonly deafTo?: readonly string[];
  /** No packet arrives or leaves, of clients either, and nothing shows it: as if the power were off. */
  readonly isSilent?: true;
  /** The cable is pulled: as silent, but the machine itself notices. */
  readonly isUnplugged?: true;
  /** Part of the packets that is lost, in each direction; more than 0, less than 1. */
  readonly lossShare?: number;
  /** What the line carries in each direction, kbit/s. */
  readonly rateKbit?: number;
  /** How long packets to and from the other members take; those of clients do not. */
  readonly delay?: Delay;
}

/** How long each packet is under way: `delayMs` give or take as much as `jitterMs`, so some overtake others. */
export interface Delay {
  readonly delayMs: number;
  readonly jitterMs: number;
}

/** A queue of a slow line holds at most as much as is sent in this time, ms. */
const QUEUE_MS_MAX = 200;
/** What a slow line sends at once; more than any one segment that is handed to a device. */
const BURST_BYTES = 70_000;
/** How a member's packets reach what delays them. */
const DELAY_DEVICE = "delay0";
/** How much later than told a packet may leave the relay. */
const RELAY_SLACK_MS = 30;
/** Port and network id of the tunnels to what delays packets. */
export const TUNNEL_PORT = 4789;
export const TUNNEL_ID = 7;

/** The faults of one bed. At most one object may act on a bed at a time. */
export class BedNetwork {
  readonly #bed: BedPlan;
  readonly #script: string;
  #relay: { readonly process: Helper; readonly heldMsMax: number } | undefined;

  /** @param script path of this program, which also delays packets. */
  constructor(bed: BedPlan, script: string) {
    this.#bed = bed;
    this.#script = script;
  }

  /**
   * Adds impairments.
   * @param impairments by member; those that are not named stay as they are.
   * @throws CliError if one cannot be made; then `heal` takes back what was.
   */
  async impair(impairments: Readonly<Record<string, Impairment>>): Promise<void> {
    const entries = Object.entries(impairments).map(
      ([id, impairment]) => [memberOf(this.#bed, id), impairment] as const,
    );
    const delayed = entries.flatMap(([member, { delay }]) =>
      delay === undefined ? [] : [{ member, delay }],
    );
    const [far, ...more] = delayed;
    if (more.length > 0) throw new CliError("Only one member of a bed can be far away.");
    if (far !== undefined) await this.#delay(far.member, far.delay);
    await Promise.all(
      entries.flatMap(([member, { rateKbit }]) =>
        rateKbit === undefined
          ? []
          : [
              limitRate(member.namespace, MEMBER_DEVICE, rateKbit),
              limitRate(this.#bed.hub, member.id, rateKbit),
            ],
      ),
    );
    const unplugged = entries.filter(([, { isUnplugged }]) => isUnplugged === true);
    await this.#inHub(
      "ip",
      unplugged.map(([member]) => `link set ${member.id} down`),
    );
    // In one go, so that no packet meets half a partition for long.
    await this.#inHub(
      "tc",
      entries.flatMap(([member, impairment]) => this.#filters(member, impairment)),
    );
  }

  /**
   * Takes everything back, also what another process left when it was killed.
   * @throws CliError if that fails.
   */
  async heal(): Promise<void> {
    const ports = this.#bed.members.map((member) => member.id);
    await this.#inHub(
      "tc",
      ports.flatMap((port) => [
        `filter delete dev ${port} ingress`,
        `filter delete dev ${port} egress`,
      ]),
    );
    // At the bridge's end, as somebody would who trips over the cable: the member keeps its address and routes.
    await this.#inHub(
      "ip",
      ports.map((port) => `link set ${port} up`),
    );
    await this.#unlimitRates();
    await this.#undoDelay();
  }

  /**
   * The filters of a member's line, as `tc` reads them. All are at the bridge, which only passes packets on: dropped where they
   * are sent, they would be missed by the sender's TCP at once, which would not take that for a loss.
   */
  #filters(member: BedMember, impairment: Impairment): string[] {
    const { deafTo, isSilent, lossShare } = impairment;
    const lines: string[] = [];
    const add = (direction: "ingress" | "egress", program: string): void => {
      const what = `protocol all bpf direct-action bytecode "${program}"`;
      lines.push(`filter add dev ${member.id} ${direction} ${what}`);
    };
    if (isSilent === true) {
      add("ingress", dropAll());
      add("egress", dropAll());
    }
    if (deafTo !== undefined && deafTo.length > 0) {
      add("egress", dropFrom(deafTo.map((id) => memberOf(this.#bed, id).address)));
    }
    if (lossShare !== undefined) {
      add("ingress", dropShare(lossShare));
      add("egress", dropShare(lossShare));
    }
    return lines;
  }

  async #unlimitRates(): Promise<void> {
    await Promise.all(
      this.#bed.members.flatMap((member) => [
        unlimitRate(member.namespace, MEMBER_DEVICE),
        unlimitRate(this.#bed.hub, member.id),
      ]),
    );
  }

  /** Carries out lines in the bridge's namespace. */
  async #inHub(tool: Tool, lines: readonly string[]): Promise<void> {
    if (lines.length > 0) await runTool(tool, ["-n", this.#bed.hub, "-batch", "-"], lines);
  }

  /**
   * Sends all between a member and the others through a relay that holds every packet for a while. Not every kernel has
   * netem, which would do it in place.
   */
  async #delay(member: BedMember, delay: Delay): Promise<void> {
    if (this.#relay !== undefined) throw new CliError("Only one member of a bed can be far away.");
    const heldMsMax = delay.delayMs + delay.jitterMs;
    this.#relay = { process: await this.#startRelay(delay), heldMsMax };
    for (const each of this.#bed.members) {
      const inside = ["-n", each.namespace];
      await runTool("ip", [
        ...[...inside, "link", "add", DELAY_DEVICE, "address", TUNNEL_MAC],
        ...["type", "vxlan", "id", String(TUNNEL_ID)],
        ...["local", each.address, "remote", this.#bed.hubAddress],
        ...["dstport", String(TUNNEL_PORT), "dev", MEMBER_DEVICE],
      ]);
      // The relay looks at IPv4 addresses alone, so hardware addresses need not be asked for.
      await runTool("ip", [...inside, "link", "set", DELAY_DEVICE, "arp", "off", "up"]);
    }
    const others = this.#bed.members.filter((each) => each.id !== member.id);
    await Promise.all(
      others.flatMap((other) => [
        routeThroughRelay(member, other),
        routeThroughRelay(other, member),
      ]),
    );
  }

  async #startRelay(delay: Delay): Promise<Helper> {
    const args = [
      ...["netns", "exec", this.#bed.hub, process.execPath, this.#script, "delay-relay"],
      ...["--host", this.#bed.hubAddress],
      ...["--delay-ms", String(delay.delayMs), "--jitter-ms", String(delay.jitterMs)],
    ];
    try {
      return await startHelper("ip", args);
    } catch (error) {
      throw new CliError(`Packets cannot be delayed: ${String(error)}`, { cause: error });
    }
  }

  /** Packets take the short way again at once; those that are under way arrive before the tunnels go. */
  async #undoDelay(): Promise<void> {
    const relay = this.#relay;
    this.#relay = undefined;
    if (relay !== undefined) {
      await Promise.all(
        this.#bed.members.map((member) =>
          runTool("ip", ["-n", member.namespace, "route", "flush", "dev", DELAY_DEVICE]),
        ),
      );
      await pause(relay.heldMsMax + RELAY_SLACK_MS);
    }
    await Promise.all(
      this.#bed.members.map(async (member) => {
        const inside = ["-n", member.namespace];
        const devices = await runTool("ip", [...inside, "-o", "link", "show"]);
        if (devices.includes(` ${DELAY_DEVICE}:`)) {
          await runTool("ip", [...inside, "link", "delete", DELAY_DEVICE]);
        }
      }),
    );
    if (relay !== undefined) await endHelper(relay.process);
  }
}

async function limitRate(namespace: string, device: string, rateKbit: number): Promise<void> {
  await runTool("tc", [
    ...["-n", namespace, "qdisc", "replace", "dev", device, "root", "tbf"],
    ...["rate", `${rateKbit}kbit`, "burst", `${BURST_BYTES}b`, "latency", `${QUEUE_MS_MAX}ms`],
  ]);
}

async function unlimitRate(namespace: string, device: string): Promise<void> {
  const inside = ["-n", namespace];
  const queues = await runTool("tc", [...inside, "qdisc", "show", "dev", device, "root"]);
  if (!queues.includes("tbf")) return;
  await runTool("tc", [...inside, "qdisc", "delete", "dev", device, "root"]);
}

async function routeThroughRelay(from: BedMember, to: BedMember): Promise<void> {
  await runTool("ip", [
    ...["-n", from.namespace, "route", "add", `${to.address}/32`],
    ...["dev", DELAY_DEVICE, "src", from.address],
  ]);
}

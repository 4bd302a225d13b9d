/**
 * What the core's events are in the log. One failure hits many shards at once, so events of one turn that say the same of
 * different shards become one line: a failover must not spend its time on logging.
 */

import type { CoreEvent } from "../replica/surface.ts";

export interface LogLine {
  readonly level: "info" | "warn";
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

type Kind = CoreEvent["kind"];
type EventOf<K extends Kind> = Extract<CoreEvent, { readonly kind: K }>;

/** @param events of one turn, in order. */
export function linesOf(events: readonly CoreEvent[]): LogLine[] {
  return [
    ...groups(events, "suspected", (event) => event.node).map(suspectedLine),
    ...groups(events, "evicting", (event) => `${event.node} ${event.why}`).map(evictingLine),
    ...ofKind(events, "swap").map(swapLine),
    ...groups(events, "epoch", (event) => event.removed.join()).map(epochLine),
    ...groups(events, "failover", (event) => event.failover.removed.join()).map(failoverLine),
    ...groups(events, "copy", (event) => `${event.learner} ${event.step}`).map(copyLine),
    ...ofKind(events, "warning").map(({ text }): LogLine => ({ level: "warn", text, fields: {} })),
  ];
}

/** Events of one kind that say the same; at least one. */
type Group<K extends Kind> = readonly [EventOf<K>, ...EventOf<K>[]];

function suspectedLine(group: Group<"suspected">): LogLine {
  const [{ node, silentMs }] = group;
  const shards = group.flatMap((event) => event.shards);
  return { level: "warn", text: `${node} is silent`, fields: { peer: node, silentMs, shards } };
}

function evictingLine(group: Group<"evicting">): LogLine {
  const [{ node, why }] = group;
  const shards = group.map((event) => event.shard);
  return {
    level: "warn",
    text: `${node} is to be removed: ${why}`,
    fields: { peer: node, shards },
  };
}

function swapLine({ outcome, reason }: EventOf<"swap">): LogLine {
  const level = outcome === "done" ? "info" : "warn";
  return { level, text: `swap (${reason}): ${outcome}`, fields: { outcome, reason } };
}

function epochLine(group: Group<"epoch">): LogLine {
  const [{ removed }] = group;
  const epochs = group.map(({ shard, epoch, primary, inSync }) => ({
    shard,
    epoch,
    primary,
    inSync,
  }));
  const what = removed.length === 0 ? "" : ` without ${removed.join(", ")}`;
  return { level: "info", text: `new epochs${what}`, fields: { removed, epochs } };
}

function failoverLine(group: Group<"failover">): LogLine {
  const failovers = group.map((event) => event.failover);
  const gapMs = Math.max(...failovers.map((failover) => failover.gapMs));
  const removed = group[0].failover.removed.join(", ");
  return {
    level: "warn",
    text: `failed over from ${removed}, gap at most ${Math.round(gapMs)} ms`,
    fields: { gapMs, failovers },
  };
}

function copyLine(group: Group<"copy">): LogLine {
  const [{ learner, step }] = group;
  const shards = group.map((event) => event.shard);
  return {
    level: "info",
    text: step === "begun" ? `copying to ${learner}` : `${learner} holds a full copy`,
    fields: { peer: learner, shards },
  };
}

function ofKind<K extends Kind>(events: readonly CoreEvent[], kind: K): EventOf<K>[] {
  return events.filter((event): event is EventOf<K> => event.kind === kind);
}

function groups<K extends Kind>(
  events: readonly CoreEvent[],
  kind: K,
  keyOf: (event: EventOf<K>) => string,
): Group<K>[] {
  const found = new Map<string, [EventOf<K>, ...EventOf<K>[]]>();
  for (const event of ofKind(events, kind)) {
    const group = found.get(keyOf(event));
    if (group === undefined) found.set(keyOf(event), [event]);
    else group.push(event);
  }
  return [...found.values()];
}

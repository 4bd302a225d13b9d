/**
 * What clients asked for and what they were told: the evidence that the checkers judge. Plain data, written the same way by
 * the simulator and by `hothot check`, and kept as JSON lines so that a history can be judged again later.
 */

/** What a key holds; null for a missing key. */
export type Value = string | null;

/** A command's answer. `error` is the server's own text when a command that was carried out answers with an error. */
export type Result = string | number | null | { readonly error: string } | readonly Result[];

/** A command on one key. What each does and answers is defined in `model.ts`. */
export type KeyAction =
  | { readonly kind: "get" | "exists" | "del" | "getdel"; readonly key: string }
  | {
      readonly kind: "set" | "setnx" | "getset" | "append";
      readonly key: string;
      readonly value: string;
    }
  | { readonly kind: "incr"; readonly key: string; readonly by: number };

/** What one operation does. `multi` is atomic; its result is the array of its actions' results. */
export type Action = KeyAction | { readonly kind: "multi"; readonly actions: readonly KeyAction[] };

interface OperationBase {
  /** Unique in its history. */
  readonly id: number;
  /**
   * The connection that asked. Operations of one session that were answered take effect in the order in which they
   * were invoked, also when they overlap (pipelining).
   */
  readonly session: number;
  /** The node that was asked. */
  readonly node?: string;
  /**
   * When it was sent: milliseconds, virtual milliseconds or a counter of events; only the order matters. An operation
   * comes before another for certain if its `answeredAt` is less than the other's `invokedAt`; equal times overlap.
   */
  readonly invokedAt: number;
  readonly action: Action;
}

/** One operation of a client. */
export type OperationRecord = OperationBase &
  (
    | { readonly outcome: "ok"; readonly answeredAt: number; readonly result: Result }
    /** Certainly not carried out. */
    | { readonly outcome: "failed"; readonly answeredAt: number; readonly why: string }
    /** May take effect at any time after its invocation, or never. */
    | { readonly outcome: "unknown"; readonly why: string }
  );

/** What a key's values are when the history begins, for those that are not missing. */
export type InitialState = ReadonlyMap<string, string>;

/** A history that cannot be read: not one of ours, another version, or damaged. */
export class HistoryFormatError extends Error {
  override readonly name = "HistoryFormatError";
  readonly code = "HISTORY_FORMAT";
}

const FORMAT = "hothot-history";
const VERSION = 1;

/**
 * @param history the operations, in any order.
 * @param note plain data for the reader, such as the seed; kept in the header.
 * @returns JSON lines: a header, then one operation a line, with a newline at the end.
 */
export function writeHistory(
  history: Iterable<OperationRecord>,
  note: Readonly<Record<string, unknown>> = {},
): string {
  const lines = [JSON.stringify({ format: FORMAT, version: VERSION, note })];
  for (const operation of history) lines.push(JSON.stringify(operation));
  return `${lines.join("\n")}\n`;
}

/**
 * Reads what `writeHistory` wrote.
 * @throws HistoryFormatError naming the line that is wrong.
 */
export function readHistory(text: string): {
  readonly history: OperationRecord[];
  readonly note: Readonly<Record<string, unknown>>;
} {
  const lines = text.split("\n");
  const header = parseLine(lines[0] ?? "", 1);
  if (header["format"] !== FORMAT) throw new HistoryFormatError("line 1: not a HotHot history");
  if (header["version"] !== VERSION) {
    throw new HistoryFormatError(
      `line 1: version ${String(header["version"])} of the format; this program reads version ${VERSION}`,
    );
  }
  const history: OperationRecord[] = [];
  for (let index = 1; index < lines.length; index++) {
    const line = lines[index] ?? "";
    if (line === "") continue;
    history.push(parseOperation(parseLine(line, index + 1), index + 1));
  }
  const note = header["note"];
  return { history, note: isObject(note) ? note : {} };
}

/** @returns the keys that an action names, each once. */
export function keysOf(action: Action): readonly string[] {
  if (action.kind !== "multi") return [action.key];
  return [...new Set(action.actions.map((part) => part.key))];
}

/** @returns the single-key parts of an action. */
export function partsOf(action: Action): readonly KeyAction[] {
  return action.kind === "multi" ? action.actions : [action];
}

/** @returns one line for people: what was asked of whom, what came back and when. */
export function describeOperation(operation: OperationRecord): string {
  const head = `#${operation.id} session ${operation.session}${operation.node === undefined ? "" : ` at ${operation.node}`}`;
  const from = round(operation.invokedAt);
  switch (operation.outcome) {
    case "ok":
      return `${head} [${from} – ${round(operation.answeredAt)}] ${describeAction(operation.action)} → ${describeResult(operation.result)}`;
    case "failed":
      return `${head} [${from} – ${round(operation.answeredAt)}] ${describeAction(operation.action)} → not carried out: ${operation.why}`;
    case "unknown":
      return `${head} [${from} – ?] ${describeAction(operation.action)} → unknown: ${operation.why}`;
  }
}

/** @returns an action as one would type it. */
export function describeAction(action: Action): string {
  switch (action.kind) {
    case "multi":
      return `MULTI { ${action.actions.map(describeAction).join("; ")} }`;
    case "get":
    case "exists":
    case "del":
    case "getdel":
      return `${action.kind.toUpperCase()} ${action.key}`;
    case "incr":
      return `INCRBY ${action.key} ${action.by}`;
    default:
      return `${action.kind.toUpperCase()} ${action.key} ${JSON.stringify(action.value)}`;
  }
}

/** @returns a result as one line; long values are cut in the middle. */
export function describeResult(result: Result): string {
  if (result === null) return "nil";
  if (typeof result === "number") return String(result);
  if (typeof result === "string") {
    const shown =
      result.length <= 120
        ? result
        : `${result.slice(0, 50)}…(${result.length} bytes)…${result.slice(-50)}`;
    return JSON.stringify(shown);
  }
  if (isResultArray(result)) return `[${result.map(describeResult).join(", ")}]`;
  return `(error) ${result.error}`;
}

/** `Array.isArray` that also narrows a readonly array. */
export function isResultArray(result: Result): result is readonly Result[] {
  return Array.isArray(result);
}

function round(time: number): string {
  return String(Math.round(time * 1000) / 1000);
}

function parseLine(line: string, number: number): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (error) {
    throw new HistoryFormatError(`line ${number}: not JSON`, { cause: error });
  }
  if (!isObject(parsed)) throw new HistoryFormatError(`line ${number}: not a JSON object`);
  return parsed;
}

function parseOperation(line: Record<string, unknown>, number: number): OperationRecord {
  const fail = (what: string): never => {
    throw new HistoryFormatError(`line ${number}: ${what}`);
  };
  const numberOf = (name: string): number => {
    const value = line[name];
    return typeof value === "number" && Number.isFinite(value)
      ? value
      : fail(`"${name}" is not a number`);
  };
  const why = typeof line["why"] === "string" ? line["why"] : "";
  const base = {
    id: numberOf("id"),
    session: numberOf("session"),
    ...(typeof line["node"] === "string" ? { node: line["node"] } : {}),
    invokedAt: numberOf("invokedAt"),
    action: parseAction(line["action"]) ?? fail(`"action" is not an action`),
  };
  switch (line["outcome"]) {
    case "ok": {
      const result = line["result"];
      if (!isResult(result)) return fail(`"result" is not a result`);
      const answeredAt = numberOf("answeredAt");
      if (answeredAt < base.invokedAt) return fail("answered before it was invoked");
      return { ...base, outcome: "ok", answeredAt, result };
    }
    case "failed":
      return { ...base, outcome: "failed", answeredAt: numberOf("answeredAt"), why };
    case "unknown":
      return { ...base, outcome: "unknown", why };
    default:
      return fail(`"outcome" is none of ok, failed, unknown`);
  }
}

function parseAction(action: unknown): Action | undefined {
  if (!isObject(action)) return undefined;
  if (action["kind"] !== "multi") return parseKeyAction(action);
  const actions = action["actions"];
  if (!Array.isArray(actions)) return undefined;
  const parts: KeyAction[] = [];
  for (const item of actions) {
    const part = isObject(item) ? parseKeyAction(item) : undefined;
    if (part === undefined) return undefined;
    parts.push(part);
  }
  return { kind: "multi", actions: parts };
}

function parseKeyAction(action: Record<string, unknown>): KeyAction | undefined {
  const { kind, key, value, by } = action;
  if (typeof key !== "string") return undefined;
  switch (kind) {
    case "get":
    case "exists":
    case "del":
    case "getdel":
      return { kind, key };
    case "set":
    case "setnx":
    case "getset":
    case "append":
      return typeof value === "string" ? { kind, key, value } : undefined;
    case "incr":
      return typeof by === "number" ? { kind, key, by } : undefined;
    default:
      return undefined;
  }
}

function isResult(value: unknown): value is Result {
  if (value === null || typeof value === "string" || typeof value === "number") return true;
  if (Array.isArray(value)) return value.every(isResult);
  return isObject(value) && typeof value["error"] === "string";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

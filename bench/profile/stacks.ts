/** What a processor profile says: time by call stack, by function and by file. */

/** The parts of V8's format that are read: https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** Time before each sample, µs. */
  readonly timeDeltas: readonly number[];
}

/** A function in a stack, with all that it calls. Times in µs. */
export interface Frame {
  readonly name: string;
  readonly file: string;
  selfUs: number;
  totalUs: number;
  readonly callees: Map<string, Frame>;
}

/** No work: the loop waits, or the sample hit none of it. */
const NO_WORK = new Set(["(idle)", "(program)"]);

/** @returns the root of all stacks, without the time in which nothing ran. */
export function stacksOf(profile: CpuProfile): Frame {
  const byId = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map<number, number>();
  for (const { id, children } of profile.nodes) {
    for (const child of children ?? []) parents.set(child, id);
  }
  const selfUs = new Map<number, number>();
  for (const [index, id] of profile.samples.entries()) {
    selfUs.set(id, (selfUs.get(id) ?? 0) + (profile.timeDeltas[index] ?? 0));
  }
  const root = frameOf("all", "");
  for (const [id, us] of selfUs) {
    const own = byId.get(id);
    if (own === undefined || us <= 0 || NO_WORK.has(own.callFrame.functionName)) continue;
    const stack: number[] = [];
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) stack.push(at);
    let frame = root;
    frame.totalUs += us;
    for (const at of stack.reverse()) {
      const node = byId.get(at);
      if (node === undefined || node.callFrame.functionName === "(root)") continue;
      frame = calleeOf(frame, node.callFrame.functionName, node.callFrame.url);
      frame.totalUs += us;
    }
    frame.selfUs += us;
  }
  return root;
}

function calleeOf(frame: Frame, functionName: string, url: string): Frame {
  const name = functionName === "" ? "(anonymous)" : functionName;
  const file = shortened(url);
  const key = `${name} ${file}`;
  let callee = frame.callees.get(key);
  if (callee === undefined) {
    callee = frameOf(name, file);
    frame.callees.set(key, callee);
  }
  return callee;
}

function frameOf(name: string, file: string): Frame {
  return { name, file, selfUs: 0, totalUs: 0, callees: new Map() };
}

/** The last two parts of a file's address, which tell the room. */
function shortened(url: string): string {
  return url.split("/").slice(-2).join("/");
}

/** @returns time spent in each, the most first. @param keyOf what to add up by. */
export function selfTimes(root: Frame, keyOf: (frame: Frame) => string): [string, number][] {
  const times = new Map<string, number>();
  const visit = (frame: Frame): void => {
    const key = keyOf(frame);
    if (frame.selfUs > 0) times.set(key, (times.get(key) ?? 0) + frame.selfUs);
    for (const callee of frame.callees.values()) visit(callee);
  };
  visit(root);
  return [...times].sort(([, a], [, b]) => b - a);
}

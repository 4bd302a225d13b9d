/** The configuration register's document: who the nodes are, and each shard's epoch. Plain data. */

/** A node's name, unique in its cluster: short, such as `n1`. */
export type NodeId = string;
/** Index of a shard, from 0. */
export type ShardId = number;
/** A random number below 2^48 that a node process draws at each start; 0 stands for "never started". */
export type Incarnation = number;

/** What holds for the whole cluster; fixed when it is formed. Times in ms. */
export interface Settings {
  readonly replication: "sync" | "async";
  /** Below this number of in-sync replicas writes are refused (R13). */
  readonly minInSync: number;
  /** Copies of each shard. */
  readonly replicas: number;
  /** With how many shards it began; since then some may have been divided. */
  readonly shardCount: number;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  /** Bound on the drift between any two clocks, as a fraction (ρ of R5). */
  readonly driftBound: number;
  /**
   * What an in-sync replica has done with a write when it acknowledges it: `fsync` it is on disk, `async` it will be within
   * `flushMs`, `none` it is in memory only.
   */
  readonly durability: "fsync" | "async" | "none";
  /** Time between two flushes under `async`. */
  readonly flushMs: number;
  /** What heartbeats go over. */
  readonly heartbeatChannel: "udp" | "tcp";
}

export interface NodeRecord {
  readonly id: NodeId;
  readonly host: string;
  /** Nodes of one zone may fail together; empty if nothing is known. A shard's copies go to different zones where they can. */
  readonly zone: string;
  readonly peerPort: number;
  readonly respPort: number;
  readonly httpPort: number;
  /** Of the process that runs now or ran last; 0 until the first start. */
  readonly incarnation: Incarnation;
}

/** An in-sync member of an epoch. */
export interface Member {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  /** The epoch in which it was promoted; it is proven once it has received the start of this epoch or a later one. */
  readonly since: number;
}

export interface ShardRecord {
  readonly id: ShardId;
  /** The slots from `firstSlot` to `lastSlot`, both included. */
  readonly firstSlot: number;
  readonly lastSlot: number;
  /** Nodes that hold, or shall hold, a copy; the first is the preferred primary. */
  readonly replicas: readonly NodeId[];
  /** 0 until the cluster is formed, then it only grows. */
  readonly epoch: number;
  readonly primary: NodeId;
  readonly inSync: readonly Member[];
}

export interface Configuration {
  readonly format: 1;
  readonly clusterId: string;
  /** Grows by one with every swap. */
  readonly version: number;
  readonly settings: Settings;
  /** All nodes of the cluster, also before their first start. */
  readonly nodes: readonly NodeRecord[];
  readonly shards: readonly ShardRecord[];
}

export const SLOT_COUNT = 16_384;
/** Nodes of a cluster at most: each has a link to every other. */
export const NODES_MAX = 1_024;
/** Shards of a cluster at most: the register's document speaks of each. */
export const SHARDS_MAX = 1_024;

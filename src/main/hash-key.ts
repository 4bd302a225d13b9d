/** The secret of this process by which its keyspaces hash keys, so that no client can choose keys that collide. */

import { randomBytes } from "node:crypto";
import type { HashKey } from "../data/key-hash.ts";

const bytes = randomBytes(8);

export const hashKey: HashKey = { low: bytes.readInt32LE(0), high: bytes.readInt32LE(4) };

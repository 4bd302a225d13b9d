/** Redis with two replicas and three sentinels, which promote one of them when the primary is gone. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePortRanges } from "../../test/integration/harness.ts";
import { ask, HOST, startServer } from "./redis.ts";
import { type ServerProcess, startProcess, stopProcess } from "./server-process.ts";
import { type SetupKind, until } from "./setup.ts";

const SENTINELS = 3;
const REPLICAS = 2;
/** Silence after which a sentinel takes the primary for dead; the smallest that is sensible. */
const DOWN_AFTER_MS = 500;
const FAILOVER_MS_MAX = 5_000;
const NAME = "bench";

export function sentinelSetup(name: string): SetupKind {
  return {
    name,
    needs: [{ program: "redis-server", debian: "redis-server" }],
    description: `one redis-server, two replicas and three sentinels, down-after-milliseconds ${DOWN_AFTER_MS}`,
    async start({ dir }) {
      const [base = 0, sentinels = 0] = await freePortRanges(2);
      const servers: ServerProcess[] = [];
      const watchers: ServerProcess[] = [];
      const stop = async (): Promise<void> => {
        await Promise.all([...watchers, ...servers].map(stopProcess));
      };
      try {
        for (let index = 0; index <= REPLICAS; index += 1) {
          const args = index === 0 ? [] : ["--replicaof", HOST, String(base)];
          servers.push(await startServer(dir, `server${index + 1}`, base + index, args));
        }
        for (let index = 0; index < SENTINELS; index += 1) {
          const own = `sentinel${index + 1}`;
          const file = join(dir, `${own}.conf`);
          const lines = [
            `port ${sentinels + index}`,
            `bind ${HOST}`,
            `dir ${dir}`,
            `sentinel monitor ${NAME} ${HOST} ${base} 2`,
            `sentinel down-after-milliseconds ${NAME} ${DOWN_AFTER_MS}`,
            `sentinel failover-timeout ${NAME} ${FAILOVER_MS_MAX}`,
          ];
          writeFileSync(file, `${lines.join("\n")}\n`);
          const args = [file, "--sentinel"];
          watchers.push(await startProcess({ name: own, command: "redis-server", args, dir }));
        }
        await until("the sentinels know each other and the replicas", async () => {
          for (let index = 0; index < SENTINELS; index += 1) {
            const info = String(await ask(sentinels + index, "INFO", "sentinel"));
            if (!info.includes("status=ok")) return false;
            if (!info.includes(`slaves=${REPLICAS},sentinels=${SENTINELS}`)) return false;
          }
          return true;
        });
        const all = watchers.map((_, index) => ({ host: HOST, port: sentinels + index }));
        return {
          protocol: "resp",
          processes: [...servers, ...watchers],
          nodes: servers.length,
          sentinelOf: NAME,
          endpoints: async () => all,
          stop,
        };
      } catch (error) {
        await stop();
        throw error;
      }
    },
  };
}

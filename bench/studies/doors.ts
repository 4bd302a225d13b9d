/** Single writes to single nodes, for clients that look for a node that takes them. */

import { callHttp } from "../../src/cli/http-client.ts";
import { RespConnection } from "../../src/cli/resp-connection.ts";
import { Refusal } from "../../src/data/reply.ts";
import type { Endpoint } from "../load/job.ts";
import { BUCKET } from "../load/nats.ts";
import { request } from "../systems/nats.ts";
import { ask } from "../systems/redis.ts";
import type { Setup } from "../systems/setup.ts";

/** Silence after which a client tries its luck elsewhere, ms. */
const SILENCE_MS_MAX = 250;

/** One client's way to one node. */
export interface Door {
  /** @returns whether the write was acknowledged. Whatever goes wrong is a no. */
  write(key: string): Promise<boolean>;
  close(): void;
}

export function doorTo(setup: Setup, endpoint: Endpoint): Door {
  switch (setup.protocol) {
    case "resp":
      return setup.sentinelOf === undefined
        ? new RespDoor(endpoint)
        : new SentinelDoor(endpoint, setup.sentinelOf);
    case "etcd":
      return { write: (key) => putToEtcd(endpoint, key), close: () => undefined };
    case "nats":
      return { write: (key) => putToNats(endpoint, key), close: () => undefined };
  }
}

class RespDoor implements Door {
  readonly #endpoint: Endpoint;
  #connection: RespConnection | undefined;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  async write(key: string): Promise<boolean> {
    try {
      const { host, port } = this.#endpoint;
      this.#connection ??= await RespConnection.open({ host, port, silentMsMax: SILENCE_MS_MAX });
      const [reply] = await this.#connection.askAll([["SET", key, "1"]]);
      return !(reply instanceof Refusal);
    } catch {
      this.close();
      return false;
    }
  }

  close(): void {
    this.#connection?.close();
    this.#connection = undefined;
  }
}

/** As Sentinel's clients do: stays with a primary until it fails, then asks where it is now. */
class SentinelDoor implements Door {
  readonly #sentinel: Endpoint;
  readonly #name: string;
  #primary: RespDoor | undefined;

  constructor(sentinel: Endpoint, name: string) {
    this.#sentinel = sentinel;
    this.#name = name;
  }

  async write(key: string): Promise<boolean> {
    this.#primary ??= await this.#find();
    if ((await this.#primary?.write(key)) === true) return true;
    this.close();
    return false;
  }

  close(): void {
    this.#primary?.close();
    this.#primary = undefined;
  }

  async #find(): Promise<RespDoor | undefined> {
    try {
      const answer = await ask(
        this.#sentinel.port,
        "SENTINEL",
        "GET-MASTER-ADDR-BY-NAME",
        this.#name,
      );
      const [host, port] = answer as [string, string];
      return new RespDoor({ host, port: Number(port) });
    } catch {
      return undefined;
    }
  }
}

async function putToEtcd({ host, port }: Endpoint, key: string): Promise<boolean> {
  const body = {
    key: Buffer.from(key).toString("base64"),
    value: Buffer.from("1").toString("base64"),
  };
  const path = "/v3/kv/put";
  try {
    const call = { host, port, method: "POST", path, body, timeoutMs: SILENCE_MS_MAX } as const;
    return (await callHttp(call)).status === 200;
  } catch {
    return false;
  }
}

async function putToNats({ port }: Endpoint, key: string): Promise<boolean> {
  try {
    const answer = await request(port, `$KV.${BUCKET}.${key}`, "1", SILENCE_MS_MAX);
    return answer.startsWith('{"stream"');
  } catch {
    return false;
  }
}

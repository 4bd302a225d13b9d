/** Makes the register that an address names: `http://` a witness, `etcd://` and `etcds://` etcd. */

import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { EtcdRegister } from "./etcd.ts";
import type { EtcdCredentials, EtcdTls } from "./etcd-transport.ts";
import type { Register } from "./register.ts";
import { WitnessRegister } from "./witness-client.ts";

export interface OpenRegisterOptions {
  /** How long a read or a swap may take, ms; about two heartbeats. */
  readonly timeoutMs: number;
  /** Told each time the register becomes unreachable for a watch, and reachable again. */
  readonly onReachable?: (isReachable: boolean, error: Error | undefined) => void;
  /**
   * Where etcd's certificates and user are looked up, the process's own environment by default: `HOTHOT_ETCD_CA`,
   * `HOTHOT_ETCD_CERT` and `HOTHOT_ETCD_KEY` are paths of PEM files, `HOTHOT_ETCD_USER` and `HOTHOT_ETCD_PASSWORD` a login.
   * A password must not stand on a command line, where everybody on the machine can read it.
   */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** The address names no register, or what it needs cannot be read; its message is for the operator. */
export class RegisterAddressError extends Error {
  override readonly name = "RegisterAddressError";
}

const ETCD_PORT = 2379;
const DEFAULT_PREFIX = "hothot";
/** One name or several with slashes between. */
const PREFIX = /^[A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*$/;
const ENDPOINT = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?$/;
const ENDPOINTS_MAX = 16;

/**
 * @param url `http://host:port`, the address of a witness; or `etcd://host[:port],…[/prefix]`, with `etcds` for TLS, whose
 *   document is the key `/<prefix>/configuration`, by default `/hothot/configuration`.
 * @throws RegisterAddressError
 */
export function openRegister(url: string, options: OpenRegisterOptions): Register {
  const { timeoutMs, onReachable, environment = process.env } = options;
  const limits = { timeoutMs, ...(onReachable === undefined ? {} : { onReachable }) };
  const scheme = /^([a-z]+):\/\//.exec(url)?.[1];
  switch (scheme) {
    case "http":
      return openWitness(url, limits);
    case "etcd":
    case "etcds": {
      const { endpoints, key } = parseEtcdUrl(url);
      const credentials = readCredentials(environment);
      return new EtcdRegister({
        endpoints,
        key,
        ...limits,
        ...(scheme === "etcds" ? { loadTls: () => readTls(environment) } : {}),
        ...(credentials === undefined ? {} : { credentials }),
      });
    }
    default:
      throw new RegisterAddressError(
        `${url} is no address of a register; it has to be http://host:port (a witness), etcd://host:port,host:port[/prefix] or etcds://… (with TLS)`,
      );
  }
}

/**
 * @param url `etcd://` or `etcds://`, as `openRegister` takes it.
 * @returns the base addresses of etcd's members, and the key of the document.
 * @throws RegisterAddressError
 */
export function parseEtcdUrl(url: string): {
  readonly endpoints: readonly string[];
  readonly key: string;
} {
  const [, scheme, authority = "", path = ""] = /^(etcds?):\/\/([^/]*)(.*)$/.exec(url) ?? [];
  if (authority.includes("@")) {
    throw new RegisterAddressError(
      "an address of etcd takes no user and password; set HOTHOT_ETCD_USER and HOTHOT_ETCD_PASSWORD",
    );
  }
  const members = authority.split(",");
  if (members.length > ENDPOINTS_MAX) {
    throw new RegisterAddressError(`${url} names more than ${ENDPOINTS_MAX} members of etcd`);
  }
  const endpoints = members.map((member) => {
    const [, host, port = String(ETCD_PORT)] = ENDPOINT.exec(member) ?? [];
    if (host === undefined || Number(port) < 1 || Number(port) > 65_535) {
      throw new RegisterAddressError(
        `"${member}" in ${url} is not the host:port of an etcd member`,
      );
    }
    return `${scheme === "etcds" ? "https" : "http"}://${host}:${port}`;
  });
  const prefix = path.replace(/^\//, "").replace(/\/$/, "") || DEFAULT_PREFIX;
  if (!PREFIX.test(prefix)) {
    throw new RegisterAddressError(
      `"${prefix}" in ${url} is no prefix: letters, digits, "_", ".", "-" and single slashes may be in it`,
    );
  }
  return { endpoints, key: `/${prefix}/configuration` };
}

function openWitness(
  url: string,
  limits: Pick<OpenRegisterOptions, "timeoutMs" | "onReachable">,
): Register {
  try {
    return new WitnessRegister({ url, ...limits });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new RegisterAddressError(`${url} is no address of a witness: ${why}`, { cause: error });
  }
}

function readTls(environment: Readonly<Record<string, string | undefined>>): EtcdTls {
  const ca = readPem(environment, "HOTHOT_ETCD_CA");
  const cert = readPem(environment, "HOTHOT_ETCD_CERT");
  const key = readPem(environment, "HOTHOT_ETCD_KEY");
  if ((cert === undefined) !== (key === undefined)) {
    throw new RegisterAddressError("HOTHOT_ETCD_CERT and HOTHOT_ETCD_KEY have to be set together");
  }
  const tls = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
  try {
    createSecureContext(tls);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new RegisterAddressError(
      `HOTHOT_ETCD_CA, HOTHOT_ETCD_CERT and HOTHOT_ETCD_KEY do not go together: ${why}`,
      { cause: error },
    );
  }
  return tls;
}

function readPem(
  environment: Readonly<Record<string, string | undefined>>,
  name: string,
): string | undefined {
  const path = environment[name];
  if (path === undefined || path === "") return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new RegisterAddressError(`${name} cannot be read: ${why}`, { cause: error });
  }
}

function readCredentials(
  environment: Readonly<Record<string, string | undefined>>,
): EtcdCredentials | undefined {
  const { HOTHOT_ETCD_USER: user = "", HOTHOT_ETCD_PASSWORD: password = "" } = environment;
  if (user === "" && password === "") return undefined;
  if (user === "" || password === "") {
    throw new RegisterAddressError(
      "HOTHOT_ETCD_USER and HOTHOT_ETCD_PASSWORD have to be set together",
    );
  }
  return { user, password };
}

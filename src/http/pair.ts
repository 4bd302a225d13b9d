/** Reads the key and the value of a `POST /set`. */

import { BadInputError } from "./bad-input.ts";
import { parseForm } from "./form.ts";
import { toBinary } from "./text.ts";

/** Binary strings. */
export interface Pair {
  readonly key: string;
  readonly value: string;
}

/**
 * @param bytesMax bound on the body, in bytes.
 * @throws BadInputError if the body is too large, of another type, broken, or lacks something.
 */
export async function readPair(request: Request, bytesMax: number): Promise<Pair> {
  const [type = ""] = (request.headers.get("content-type") ?? "").split(";");
  switch (type.trim().toLowerCase()) {
    case "application/json":
      return pairOfJson(await readBody(request, bytesMax));
    case "application/x-www-form-urlencoded":
      return pairOfForm((await readBody(request, bytesMax)).toString("latin1"));
    default:
      throw new BadInputError(
        "the content type must be application/json or application/x-www-form-urlencoded",
        { status: 415 },
      );
  }
}

/** @throws BadInputError if the key is missing or empty. */
export function requireKey(key: string | undefined): string {
  if (key === undefined) throw new BadInputError("key is missing", { status: 400 });
  if (key === "") throw new BadInputError("key must not be empty", { status: 400 });
  return key;
}

async function readBody(request: Request, bytesMax: number): Promise<Buffer> {
  const tooLarge = new BadInputError(`the body must not be larger than ${bytesMax} bytes`, {
    status: 413,
  });
  // Announced lengths are refused unread; what is not announced, or wrongly, is counted.
  if (Number(request.headers.get("content-length") ?? 0) > bytesMax) throw tooLarge;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > bytesMax) throw tooLarge;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function pairOfForm(text: string): Pair {
  const fields = parseForm(text);
  const key = requireKey(fields.get("key"));
  const value = fields.get("value");
  if (value === undefined) throw new BadInputError("value is missing", { status: 400 });
  return { key, value };
}

function pairOfJson(body: Buffer): Pair {
  const document = parseJson(body);
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw new BadInputError("the body must be a JSON object with key and value", { status: 400 });
  }
  const fields = new Map<string, unknown>(Object.entries(document));
  const key = requireKey(stringField(fields, "key"));
  const value = stringField(fields, "value");
  if (value === undefined) throw new BadInputError("value is missing", { status: 400 });
  return { key, value };
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (error) {
    throw new BadInputError(`the body is not JSON: ${String(error)}`, {
      status: 400,
      cause: error,
    });
  }
}

function stringField(fields: ReadonlyMap<string, unknown>, name: string): string | undefined {
  const value = fields.get(name);
  if (value === undefined) return undefined;
  if (typeof value !== "string")
    throw new BadInputError(`${name} must be a string`, { status: 400 });
  const binary = toBinary(value);
  if (binary === undefined)
    throw new BadInputError(`${name} is not valid Unicode`, { status: 400 });
  return binary;
}

/** Between the text of HTTP and JSON, and the binary strings of everything below. */

const LONE_SURROGATE = /\p{Surrogate}/u;

/** @returns the text's UTF-8 bytes as a binary string, undefined if it has half a character that UTF-8 cannot say. */
export function toBinary(text: string): string | undefined {
  if (LONE_SURROGATE.test(text)) return undefined;
  return Buffer.from(text, "utf8").toString("latin1");
}

/** @returns the text that the bytes are in UTF-8, undefined if they are not UTF-8. */
export function toText(binary: string): string | undefined {
  try {
    return decoder.decode(Buffer.from(binary, "latin1"));
  } catch {
    return undefined;
  }
}

/** @returns the bytes in base64. */
export function toBase64(binary: string): string {
  return Buffer.from(binary, "latin1").toString("base64");
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads `application/x-www-form-urlencoded` text, of a body or of a query, into binary strings: `%FF` is the byte 255. */

const ESCAPED = /%([0-9a-fA-F]{2})/g;

/**
 * @param text a binary string; a `%` that no two hexadecimal digits follow stands for itself.
 * @returns the fields; of several with one name the first.
 */
export function parseForm(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const pair of text.split("&")) {
    if (pair === "") continue;
    const at = pair.indexOf("=");
    const name = decode(at < 0 ? pair : pair.slice(0, at));
    if (!fields.has(name)) fields.set(name, at < 0 ? "" : decode(pair.slice(at + 1)));
  }
  return fields;
}

function decode(text: string): string {
  return text
    .replaceAll("+", " ")
    .replace(ESCAPED, (_whole, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

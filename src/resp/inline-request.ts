/** Splits an inline request (`SET key "a value"`) into its arguments, with Redis's quotes and escapes. */

const BLANKS = " \n\r\t\v\f\0";
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", b: "\b", a: "\x07" };
const HEX_BYTE = /^[0-9a-fA-F]{2}$/;

/**
 * @param line a binary string without its line end.
 * @returns the arguments, or undefined if a quote is not closed or is followed by something else than a blank.
 */
export function splitInlineRequest(line: string): string[] | undefined {
  const args: string[] = [];
  let at = skipBlanks(line, 0);
  while (at < line.length) {
    const argument = readArgument(line, at);
    if (argument === undefined) return undefined;
    args.push(argument.text);
    at = skipBlanks(line, argument.end);
  }
  return args;
}

interface Piece {
  readonly text: string;
  readonly end: number;
}

function isBlank(char: string): boolean {
  return char === "" || BLANKS.includes(char);
}

function skipBlanks(line: string, start: number): number {
  let at = start;
  while (at < line.length && isBlank(line.charAt(at))) at += 1;
  return at;
}

function readArgument(line: string, start: number): Piece | undefined {
  let text = "";
  let at = start;
  while (!isBlank(line.charAt(at))) {
    const char = line.charAt(at);
    if (char !== '"' && char !== "'") {
      text += char;
      at += 1;
      continue;
    }
    const quoted = char === '"' ? readDoubleQuoted(line, at + 1) : readSingleQuoted(line, at + 1);
    if (quoted === undefined || !isBlank(line.charAt(quoted.end))) return undefined;
    return { text: text + quoted.text, end: quoted.end };
  }
  return { text, end: at };
}

function readDoubleQuoted(line: string, start: number): Piece | undefined {
  let text = "";
  let at = start;
  while (at < line.length) {
    const char = line.charAt(at);
    if (char === '"') return { text, end: at + 1 };
    if (char !== "\\" || at + 1 >= line.length) {
      text += char;
      at += 1;
      continue;
    }
    const escaped = line.charAt(at + 1);
    const hex = line.slice(at + 2, at + 4);
    if (escaped === "x" && HEX_BYTE.test(hex)) {
      text += String.fromCharCode(Number.parseInt(hex, 16));
      at += 4;
    } else {
      text += ESCAPES[escaped] ?? escaped;
      at += 2;
    }
  }
  return undefined;
}

function readSingleQuoted(line: string, start: number): Piece | undefined {
  let text = "";
  let at = start;
  while (at < line.length) {
    const char = line.charAt(at);
    if (char === "'") return { text, end: at + 1 };
    const isEscapedQuote = char === "\\" && line.charAt(at + 1) === "'";
    text += isEscapedQuote ? "'" : char;
    at += isEscapedQuote ? 2 : 1;
  }
  return undefined;
}

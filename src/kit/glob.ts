/**
 * Redis's glob patterns: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before a character that stands for itself. A pattern is
 * whatever a client sends, so none may cost more than its length times the text's.
 */

const STAR = 0x2a;
const QUESTION = 0x3f;
const OPENING = 0x5b;
const CLOSING = 0x5d;
const CARET = 0x5e;
const DASH = 0x2d;
const BACKSLASH = 0x5c;

/** Where matching goes on in the pattern if the element at hand did not match. */
const MISMATCH = -1;

/**
 * @param pattern a binary string.
 * @param text a binary string.
 * @returns whether the pattern matches the whole text, with the case of letters.
 */
export function globMatches(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  // After a mismatch only the last star need take another character: whatever an earlier star could take, the last can.
  let afterStar = -1;
  let starTakesTo = 0;
  while (t < text.length) {
    if (p < pattern.length && pattern.charCodeAt(p) === STAR) {
      p++;
      afterStar = p;
      starTakesTo = t;
      continue;
    }
    const next = p < pattern.length ? element(pattern, p, text.charCodeAt(t)) : MISMATCH;
    if (next !== MISMATCH) {
      p = next;
      t++;
    } else if (afterStar !== -1) {
      p = afterStar;
      starTakesTo++;
      t = starTakesTo;
    } else {
      return false;
    }
  }
  while (p < pattern.length && pattern.charCodeAt(p) === STAR) p++;
  return p === pattern.length;
}

/** Matches one character against the element at `p`; the index after the element, or `MISMATCH`. */
function element(pattern: string, p: number, character: number): number {
  const code = pattern.charCodeAt(p);
  if (code === QUESTION) return p + 1;
  if (code === OPENING) return characterClass(pattern, p + 1, character);
  if (code === BACKSLASH && p + 1 < pattern.length) {
    return pattern.charCodeAt(p + 1) === character ? p + 2 : MISMATCH;
  }
  return code === character ? p + 1 : MISMATCH;
}

/** As `element`, from behind the opening bracket on. A class that is not closed reaches to the end of the pattern. */
function characterClass(pattern: string, start: number, character: number): number {
  let p = start;
  const isNegated = pattern.charCodeAt(p) === CARET;
  if (isNegated) p++;
  let isIn = false;
  for (; p < pattern.length; p++) {
    const code = pattern.charCodeAt(p);
    if (code === BACKSLASH && p + 1 < pattern.length) {
      p++;
      if (pattern.charCodeAt(p) === character) isIn = true;
    } else if (code === CLOSING) {
      break;
    } else if (p + 2 < pattern.length && pattern.charCodeAt(p + 1) === DASH) {
      p += 2;
      const end = pattern.charCodeAt(p);
      if (character >= Math.min(code, end) && character <= Math.max(code, end)) isIn = true;
    } else if (code === character) {
      isIn = true;
    }
  }
  if (isIn === isNegated) return MISMATCH;
  return Math.min(p + 1, pattern.length);
}

/** What options of the benchmark's programs mean. */

/** @throws Error if the text of an option is no number above 0. */
export function countOf(name: string, text: string): number {
  const count = Number(text);
  if (count > 0) return count;
  throw new Error(`--${name} has to be a number above 0`);
}

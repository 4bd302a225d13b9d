/** Writing to the terminal. Results go to standard output, everything else to standard error. */

/** Writes a line of a command's result. */
export function printLine(text = ""): void {
  process.stdout.write(`${text}\n`);
}

/** Writes a line of progress or of trouble. */
export function printNote(text: string): void {
  process.stderr.write(`${text}\n`);
}

/**
 * Lays rows out in columns that are as wide as their widest cell.
 * @param header the columns' names; the number of columns.
 * @returns lines without trailing blanks, the header first.
 */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string[] {
  const all = [header, ...rows];
  const widths = header.map((_, column) =>
    Math.max(...all.map((row) => (row[column] ?? "").length)),
  );
  return all.map((row) =>
    widths
      .map((width, column) => (row[column] ?? "").padEnd(width))
      .join("  ")
      .trimEnd(),
  );
}

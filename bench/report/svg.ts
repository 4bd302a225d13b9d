/** Bar charts of a section: one group for each cell, one bar for each system, a line from the least to the most. */

import { roundsOf, type SectionResult, throughputOf } from "../results.ts";

const BAR_HEIGHT = 14;
const GROUP_GAP = 30;
const LEFT = 290;
const WIDTH = 900;
const RIGHT = 90;
const TOP = 20;
/** Of the same lightness, and apart from each other for those who see no red and green too. */
const COLOURS = ["#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb"];

export function chartOf(section: SectionResult): string {
  const parts: string[] = [];
  let y = TOP;
  for (const cell of section.cells) {
    const bars = section.systems.flatMap((system, index) => {
      const rounds = roundsOf(section, system.name, cell.name);
      if (rounds === undefined) return [];
      const colour = COLOURS[index % COLOURS.length] ?? "";
      return [{ title: system.title, colour, ...throughputOf(rounds) }];
    });
    const most = Math.max(1, ...bars.map((bar) => bar.max));
    const xOf = (value: number): number => LEFT + ((WIDTH - LEFT - RIGHT) * value) / most;
    parts.push(text(0, y, cell.title, 'font-weight="bold"'));
    for (const bar of bars) {
      y += BAR_HEIGHT + 2;
      const middle = y - BAR_HEIGHT / 2 + 3;
      parts.push(
        text(LEFT - 8, y, bar.title, 'text-anchor="end"'),
        `<rect x="${LEFT}" y="${y - BAR_HEIGHT + 3}" width="${(xOf(bar.median) - LEFT).toFixed(1)}" height="${BAR_HEIGHT}" fill="${bar.colour}"/>`,
        `<line x1="${xOf(bar.min).toFixed(1)}" x2="${xOf(bar.max).toFixed(1)}" y1="${middle}" y2="${middle}" stroke="#333333"/>`,
        text(xOf(bar.max) + 6, y, Math.round(bar.median).toLocaleString("en")),
      );
    }
    y += GROUP_GAP;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${y}" fill="#ffffff"/>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

function text(x: number, y: number, content: string, more = ""): string {
  return `<text x="${x.toFixed(1)}" y="${y}" ${more}>${escaped(content)}</text>`;
}

/** @returns text as it stands in SVG. */
export function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** A flame graph as SVG: a box for each function in each stack, as wide as the time in it, upon its caller's. */

import { escaped } from "../report/svg.ts";
import type { Frame } from "./stacks.ts";

const WIDTH = 1_400;
const ROW = 17;
const TOP = 40;
/** Narrower boxes are left out, and what they call. */
const BOX_WIDTH_MIN = 0.8;
/** Narrower boxes have no room for a name. */
const NAMED_WIDTH_MIN = 32;
const CHARACTER_WIDTH = 6.6;
/** By the room that a file is in: near in colour what is near in the code. */
const COLOURS = ["#f4a582", "#fddbc7", "#d1e5f0", "#92c5de", "#b8e186", "#f1b6da", "#e6d5a8"];
const FOREIGN_COLOUR = "#dddddd";

/** @param title what was measured. */
export function flameGraphOf(root: Frame, title: string): string {
  const boxes: string[] = [];
  let depth = 0;
  const draw = (frame: Frame, x: number, level: number): void => {
    const width = (WIDTH * frame.totalUs) / Math.max(1, root.totalUs);
    if (width < BOX_WIDTH_MIN) return;
    depth = Math.max(depth, level);
    boxes.push(box(frame, root, { x, level, width }));
    let left = x;
    for (const callee of [...frame.callees.values()].sort((a, b) => b.totalUs - a.totalUs)) {
      draw(callee, left, level + 1);
      left += (WIDTH * callee.totalUs) / Math.max(1, root.totalUs);
    }
  };
  draw(root, 0, 0);
  const height = TOP + (depth + 1) * ROW + 8;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="11">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="8" y="24" font-size="15">${escaped(title)}</text>`,
    ...boxes,
    "</svg>",
    "",
  ].join("\n");
}

function box(
  frame: Frame,
  root: Frame,
  at: { readonly x: number; readonly level: number; readonly width: number },
): string {
  const y = TOP + at.level * ROW;
  const percent = ((100 * frame.totalUs) / Math.max(1, root.totalUs)).toFixed(1);
  const label = escaped(`${frame.name} ${frame.file} ${percent} %`);
  const characters = Math.floor((at.width - 4) / CHARACTER_WIDTH);
  const name =
    at.width < NAMED_WIDTH_MIN
      ? ""
      : `<text x="${(at.x + 2).toFixed(1)}" y="${y + 12}">${escaped(frame.name.slice(0, characters))}</text>`;
  return (
    `<g><title>${label}</title><rect x="${at.x.toFixed(1)}" y="${y}" width="${at.width.toFixed(1)}" ` +
    `height="${ROW - 1}" fill="${colourOf(frame.file)}"/>${name}</g>`
  );
}

function colourOf(file: string): string {
  const room = file.includes("/") ? (file.split("/")[0] ?? "") : "";
  if (room === "" || room.startsWith("node:") || room === "internal") return FOREIGN_COLOUR;
  let sum = 0;
  for (let i = 0; i < room.length; i += 1) sum += room.charCodeAt(i);
  return COLOURS[sum % COLOURS.length] ?? FOREIGN_COLOUR;
}

import type { Paint } from "./say.ts";
import { padded, widthOf } from "./width.ts";

/**
 * Rows under bold headings. Columns are two spaces apart and as wide as their
 * widest cell, so no cell is cut. A cell stays on its line, whatever is in it.
 */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  paint: Paint,
): string {
  const flat = rows.map((row) => row.map((cell) => cell.replaceAll(/\s/g, " ")));
  const lines = [headings.map(paint.bold), ...flat];
  const widths = headings.map((_, i) =>
    lines.reduce((width, cells) => Math.max(width, widthOf(cells[i] ?? "")), 0),
  );
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => padded(cell, widths[i] ?? 0)).join("  ");
  return lines.map((cells) => line(cells).trimEnd()).join("\n");
}

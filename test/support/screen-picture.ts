/** A terminal's screen as a picture for the docs. */

const cell = { width: 8, height: 17 };
const edge = 12;
const colours = {
  ground: "#16181d",
  text: "#d6dae0",
  dim: "#8b93a1",
  "31": "#f87171",
  "32": "#4ade80",
  "33": "#fbbf24",
  "34": "#6ea8fe",
  "35": "#b794f6",
  "36": "#67d4e8",
} as const;

interface Look {
  readonly colour: string;
  readonly isBold: boolean;
  readonly isDim: boolean;
  readonly isReversed: boolean;
}

const plain: Look = { colour: colours.text, isBold: false, isDim: false, isReversed: false };

interface Run {
  readonly look: Look;
  readonly text: string;
}

/** Pure: the picture of a screen with colours, as `tmux capture-pane -e`. */
export function svgOf(screen: string, columns: number, rows: number): string {
  const width = columns * cell.width + 2 * edge;
  const height = rows * cell.height + 2 * edge;
  const lines = screen.split("\n").slice(0, rows);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" xml:space="preserve">`,
    `<style>text{font:13.3px "DejaVu Sans Mono",Menlo,Consolas,monospace;white-space:pre}</style>`,
    `<rect width="100%" height="100%" rx="8" fill="${colours.ground}"/>`,
    ...lines.map((line, i) => `<g>${runsOf(line, i)}</g>`),
    "</svg>",
    "",
  ].join("\n");
}

/** Pure: the screen of such a picture, without its colours. */
export const screenOf = (svg: string): string =>
  [...svg.matchAll(/^<g>(.*)<\/g>$/gm)]
    .map(([, row = ""]) => unescaped(row.replaceAll(/<[^>]*>/g, "")))
    .join("\n");

function runsOf(line: string, row: number): string {
  const y = edge + row * cell.height;
  let column = 0;
  return parse(line)
    .map(({ look, text }) => {
      const x = edge + column * cell.width;
      const length = [...text].length * cell.width;
      column += [...text].length;
      const [ink, paper] = look.isReversed ? [colours.ground, look.colour] : [look.colour, ""];
      const box =
        paper === ""
          ? ""
          : `<rect x="${x}" y="${y}" width="${length}" height="${cell.height}" fill="${paper}"/>`;
      const fill = look.isDim && !look.isReversed ? colours.dim : ink;
      const bold = look.isBold ? ' font-weight="bold"' : "";
      return `${box}<text x="${x}" y="${y + 13}" textLength="${length}" fill="${fill}"${bold}>${escaped(text)}</text>`;
    })
    .join("");
}

/** Pure: the pieces of a line that look the same. */
function parse(line: string): Run[] {
  const runs: Run[] = [];
  let look = plain;
  for (const piece of line.split(/(\u001b\[[\d;]*m)/)) {
    const codes = /^\u001b\[([\d;]*)m$/.exec(piece)?.[1];
    if (codes !== undefined) for (const code of codes.split(";")) look = after(look, code);
    else if (piece !== "") runs.push({ look, text: piece });
  }
  return runs;
}

function after(look: Look, code: string): Look {
  switch (code) {
    case "":
    case "0":
      return plain;
    case "1":
      return { ...look, isBold: true };
    case "2":
      return { ...look, isDim: true };
    case "22":
      return { ...look, isBold: false, isDim: false };
    case "7":
      return { ...look, isReversed: true };
    case "27":
      return { ...look, isReversed: false };
    case "39":
      return { ...look, colour: colours.text };
    default:
      return code in colours ? { ...look, colour: colours[code as keyof typeof colours] } : look;
  }
}

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const unescaped = (text: string): string =>
  text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { type Figures, medianOf, spread } from "./figures.ts";
import type { Row } from "./standing.ts";
import { unitOf } from "./verdict.ts";

/** One row of a case, with a bar for each contender that was measured. */
export interface Panel {
  readonly title: string;
  readonly bars: readonly Bar[];
}

interface Bar {
  readonly contender: string;
  readonly kind: Kind;
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** The median and the range, for the reader. */
  readonly text: string;
}

/**
 * Whose bar it is: ngrokd's, that of ngrokd with other settings, a peer's, or
 * that of the way without a relay.
 */
const kinds = ["own", "variant", "peer", "none"] as const;
export type Kind = (typeof kinds)[number];

export function panelsOf(
  rows: readonly Row[],
  figures: Figures,
  kindOf: (contender: string) => Kind,
): Panel[] {
  return rows
    .map(({ what, metric, better }) => ({
      title: `${what} (${unitOf(metric)}, ${better} is better)`,
      bars: figures.contenders.flatMap((contender): Bar[] => {
        const values = figures.values(contender, metric);
        if (values.length === 0) return [];
        const [low, high] = [Math.min(...values), Math.max(...values)];
        const [median, text] = [medianOf(values), spread(values)];
        return [{ contender, kind: kindOf(contender), median, low, high, text }];
      }),
    }))
    .filter(({ bars }) => bars.length > 0);
}

const columnWidth = 500;
const gap = 24;
const barHeight = 20;
const titleHeight = 26;

/**
 * The panels as an SVG, in two columns. The same panels give the same text.
 * Light or dark follows the reader's system.
 */
export function chart(title: string, panels: readonly Panel[]): string {
  const columns = Math.min(2, panels.length);
  const height = Math.max(0, ...panels.map(({ bars }) => titleHeight + bars.length * barHeight));
  const width = columns * columnWidth + (columns - 1) * gap;
  const lines = Math.ceil(panels.length / columns);
  const whole = { width: width + 2 * gap, height: lines * (height + gap) + gap };
  const drawn = panels.map((panel, i) => {
    const x = gap + (i % columns) * (columnWidth + gap);
    const y = gap + Math.floor(i / columns) * (height + gap);
    return `<g transform="translate(${x},${y})"><text class="title" y="12">${escaped(capitalized(panel.title))}</text>${drawing(panel)}</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" role="img" width="${whole.width}" height="${whole.height}" viewBox="0 0 ${whole.width} ${whole.height}">
<title>${escaped(title)}</title>
<style>${style}</style>
<rect class="paper" width="100%" height="100%" rx="6" />
${drawn.join("\n")}
</svg>
`;
}

const style = `
  .paper { fill: #ffffff; stroke: #d8dee4 }
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .own rect { fill: #2f6fde }
  .variant rect { fill: #9dbdf5 }
  .peer rect { fill: #a9b4c0 }
  .none rect { fill: #e0e5ea }
  .range line { stroke: #1f2328; stroke-opacity: 0.6; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; stroke: #30363d }
    text { fill: #e6edf3 }
    .own rect { fill: #4c8dff }
    .variant rect { fill: #2b4f8f }
    .peer rect { fill: #59636e }
    .none rect { fill: #30363d }
    .range line { stroke: #e6edf3 }
  }
`;

/** The bars of one panel. A range that leaves the picture is cut. */
function drawing({ bars }: Panel): string {
  const { document } = parseHTML("<html></html>");
  const longest = Math.max(...bars.map(({ median }) => median));
  const limit = Math.min(2 * longest, Math.max(...bars.map(({ high }) => high)));
  const at = { y: "contender" } as const;
  const svg = Plot.plot({
    document,
    width: columnWidth,
    height: bars.length * barHeight,
    margin: 0,
    marginTop: 1,
    marginLeft: 202,
    marginRight: 136,
    x: { axis: null, domain: [0, limit > 0 ? limit : 1] },
    y: { axis: null, domain: bars.map(({ contender }) => contender), padding: 0.3 },
    marks: [
      ...kinds.map((kind) =>
        Plot.barX(
          bars.filter((bar) => bar.kind === kind),
          { ...at, x1: 0, x2: "median", className: kind },
        ),
      ),
      Plot.ruleY(
        bars.filter(({ low, high }) => low < high),
        { ...at, x1: "low", x2: ({ high }: Bar) => Math.min(high, limit), className: "range" },
      ),
      Plot.text(bars, { ...at, text: "contender", frameAnchor: "left", textAnchor: "end", dx: -8 }),
      Plot.text(bars, { ...at, text: "text", frameAnchor: "right", textAnchor: "start", dx: 8 }),
    ],
  });
  // The style of the whole counts.
  for (const own of svg.querySelectorAll("style")) own.remove();
  for (const name of ["class", "font-size", "font-family", "fill"]) svg.removeAttribute(name);
  svg.setAttribute("y", String(titleHeight - 4));
  return svg.toString();
}

const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

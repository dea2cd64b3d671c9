import { useEffect, useRef } from "preact/hooks";
import UPlot from "uplot";

export interface Line {
  readonly label: string;
  /** The name of a custom property of the style. */
  readonly color: string;
  readonly values: readonly (number | null)[];
  readonly isFilled?: boolean;
}

interface ChartProps {
  /** The whole picture as a sentence, for those who do not see it. */
  readonly label: string;
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly show: (value: number) => string;
  /** Another one means other colours. */
  readonly theme: string;
}

const height = 168;
const font = "11px system-ui, sans-serif";

/** Lines over time. */
export function Chart({ label, times, lines, show, theme }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot>(undefined);
  const data = [times, ...lines.map(({ values }) => values)] as UPlot.AlignedData;
  useEffect(() => {
    const div = place.current;
    if (div === null) return;
    const made = new UPlot(optionsFor(div, lines, show), data, div);
    plot.current = made;
    const sizes = new ResizeObserver(() => made.setSize({ width: div.clientWidth, height }));
    sizes.observe(div);
    return () => {
      sizes.disconnect();
      made.destroy();
    };
  }, [theme, lines.length]);
  useEffect(() => plot.current?.setData(data), [data]);
  return <div class="chart" ref={place} role="img" aria-label={label} />;
}

function optionsFor(
  div: HTMLElement,
  lines: readonly Line[],
  show: (value: number) => string,
): UPlot.Options {
  const [text, grid] = [colorOf(div, "--soft"), colorOf(div, "--line")];
  const shown = (value: number | null): string => (value === null ? "–" : show(value));
  const axis = { font, stroke: text, ticks: { show: false }, grid: { stroke: grid, width: 1 } };
  return {
    width: div.clientWidth,
    height,
    cursor: { y: false, points: { size: 6 } },
    axes: [
      {
        ...axis,
        size: 26,
        gap: 6,
        space: 70,
        incrs: [60, 120, 300, 600],
        values: (_, at) => at.map(hourAndMinute),
      },
      { ...axis, size: 62, gap: 6, space: 36, values: (_, at) => at.map(show) },
    ],
    scales: { y: { range: (_, _low, high) => [0, (high ?? 0) > 0 ? high * 1.1 : 1] } },
    series: [
      { label: "Time", value: (_, at) => (at === null ? "now" : hourAndMinute(at)) },
      ...lines.map(({ label, color, isFilled = false }) => ({
        label,
        stroke: colorOf(div, color),
        ...(isFilled ? { fill: `${colorOf(div, color).replace(")", " / 12%)")}` } : {}),
        width: 1.5,
        spanGaps: false,
        points: { show: true, size: 4, fill: colorOf(div, color) },
        // Without a pointer over the chart, the legend has the newest values.
        value: (plot: UPlot, value: number | null, line: number, at: number | null) =>
          shown(at === null ? (plot.data[line]?.at(-1) ?? null) : value),
      })),
    ],
  };
}

const minutes = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const hourAndMinute = (seconds: number): string => minutes.format(seconds * 1000);

/** A canvas knows no custom properties. */
function colorOf(within: HTMLElement, property: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${property})`;
  within.append(probe);
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g) ?? ["0", "0", "0"];
  probe.remove();
  return `rgb(${r} ${g} ${b})`;
}

/** A small line without axes. The name of its row says what it is of. */
export function Spark({ values }: { readonly values: readonly number[] }) {
  const most = Math.max(...values, 1);
  const points = values.map(
    (value, i) =>
      `${((i / (values.length - 1)) * 100).toFixed(1)},${(19 - (value / most) * 17).toFixed(1)}`,
  );
  if (points.length < 2) return <span class="spark" />;
  return (
    <svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">
      <polygon points={`0,19 ${points.join(" ")} 100,19`} />
      <polyline points={points.join(" ")} />
    </svg>
  );
}

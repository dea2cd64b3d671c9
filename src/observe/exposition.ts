/**
 * One metric with all its time series. Names, types and units follow the
 * conventions of Prometheus.
 */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** Called when the metric is written. */
  readonly samples: () => Iterable<Sample>;
}

export interface Sample {
  readonly labels: Labels;
  readonly value: number | Buckets;
}

export type Labels = Readonly<Record<string, string>>;

export interface Buckets {
  /** Upper bounds, in ascending order. */
  readonly bounds: readonly number[];
  /**
   * Counts between each bound and the previous one, and last the count above
   * all bounds.
   */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** A metric that is one number. */
export const gauge = (name: string, help: string, value: number, labels: Labels = {}): Family =>
  single("gauge", name, help, value, labels);
export const counter = (name: string, help: string, value: number): Family =>
  single("counter", name, help, value, {});

function single(
  type: Family["type"],
  name: string,
  help: string,
  value: number,
  labels: Labels,
): Family {
  return { name, type, help, samples: () => [{ labels, value }] };
}

/** The content type of {@link exposition}. */
export const contentType = "text/plain; version=0.0.4; charset=utf-8";

/**
 * Writes Prometheus's text format in pieces of about `pieceLength` characters.
 * With thousands of endpoints the whole text takes tens of milliseconds, and
 * connections must not wait for that. Source:
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export function* exposition(
  families: Iterable<Family>,
  pieceLength = 32_768,
): Generator<string, void, undefined> {
  let piece = "";
  for (const { name, help, type, samples } of families) {
    piece += `# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n`;
    for (const { labels, value } of samples()) {
      const own = labelText(labels);
      piece +=
        typeof value === "number" ? line(name, own, value) : histogramLines(name, own, value);
      if (piece.length < pieceLength) continue;
      yield piece;
      piece = "";
    }
  }
  if (piece !== "") yield piece;
}

function histogramLines(name: string, labels: string, { bounds, counts, sum }: Buckets): string {
  const comma = labels === "" ? "" : ",";
  let count = 0;
  let text = "";
  for (const [i, within] of counts.entries()) {
    count += within;
    text += line(
      `${name}_bucket`,
      `${labels}${comma}le="${number(bounds[i] ?? Number.POSITIVE_INFINITY)}"`,
      count,
    );
  }
  return text + line(`${name}_sum`, labels, sum) + line(`${name}_count`, labels, count);
}

const line = (name: string, labels: string, value: number): string =>
  labels === "" ? `${name} ${number(value)}\n` : `${name}{${labels}} ${number(value)}\n`;

function labelText(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value).replaceAll('"', '\\"')}"`)
    .join(",");
}

const escaped = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");

function number(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}

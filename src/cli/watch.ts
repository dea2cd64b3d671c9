import { setTimeout as sleep } from "node:timers/promises";
import { type ListItem, listSchema, type Status, statusSchema } from "../control/protocol.ts";
import { reasonOf } from "../model/error.ts";
import { readable } from "../model/parsed.ts";
import type { Io } from "./command.ts";
import { askFor } from "./daemon-socket.ts";
import { bytesText, type Paint, type Size, table } from "./say.ts";

type DaemonArgs = Parameters<typeof askFor>[1];

/** What the daemon said at one time. */
export interface Sample {
  readonly at: Date;
  readonly status: Status;
  readonly items: readonly ListItem[];
}

/** Of one endpoint, a second. */
export interface Rates {
  readonly connections: number;
  readonly failures: number;
  readonly bytes_up: number;
  readonly bytes_down: number;
}

/** An endpoint and its rates, which are unknown for the first sample and where its counters began anew. */
export type Watched = ListItem & { readonly per_second: Rates | null };

/**
 * `ngrokd list --watch`: what the daemon has, again and again, until `io.stop`. On a terminal a daemon that does not answer is waited for;
 * elsewhere, and where the first request fails, it rejects with what {@link askFor} does.
 */
export async function watch(args: DaemonArgs, io: Io, everyMs = 1000): Promise<void> {
  const { say, stop } = io;
  const live = say.live();
  const stopped = new Promise<undefined>((resolve) => stop.addEventListener("abort", () => resolve(undefined), { once: true }));
  let before: Sample | undefined;
  let items: readonly Watched[] = [];
  try {
    while (!stop.aborted) {
      try {
        const sample = await Promise.race([look(args, io), stopped]);
        if (sample === undefined) return;
        items = withRates(before, sample);
        before = sample;
        live.show(items, (size) => watchText({ ...sample, items }, say.paint, size));
      } catch (error) {
        if (before === undefined || !live.inPlace) throw error;
        const stale = { ...before, items, at: new Date(), trouble: reasonOf(error) };
        live.show(items, (size) => watchText(stale, say.paint, size));
      }
      await Promise.race([sleep(everyMs), stopped]);
    }
  } finally {
    live.end();
  }
}

async function look(args: DaemonArgs, io: Io): Promise<Sample> {
  const items = await askFor(listSchema, args, io, { command: "list" });
  const status = await askFor(statusSchema, args, io, { command: "status" });
  return { at: new Date(), status, items };
}

/** Pure: how much each endpoint's counters have grown since `before`. */
export function withRates(before: Sample | undefined, { at, items }: Sample): Watched[] {
  const seconds = before === undefined ? 0 : (at.getTime() - before.at.getTime()) / 1000;
  const earlier = new Map(before?.items.map((item) => [placeOf(item), item]));
  return items.map((item) => {
    const was = earlier.get(placeOf(item));
    if (was === undefined || seconds <= 0 || was.connections.total > item.connections.total) return { ...item, per_second: null };
    const rate = (count: (item: ListItem) => number): number => Math.max(0, count(item) - count(was)) / seconds;
    return {
      ...item,
      per_second: {
        connections: rate(({ connections }) => connections.total),
        failures: rate(failuresOf),
        bytes_up: rate(({ bytes }) => bytes.up),
        bytes_down: rate(({ bytes }) => bytes.down),
      },
    };
  });
}

const placeOf = ({ url, ip, port, state }: ListItem): string => `${url} ${ip}:${port} ${state === "draining"}`;
const failuresOf = ({ connections }: ListItem): number => connections.errors + connections.refused;

export interface Picture {
  readonly at: Date;
  readonly status: Status;
  readonly items: readonly Watched[];
  /** Why this is not the latest; what is shown is what was last known. */
  readonly trouble?: string;
}

/** Pure: one picture of the watch; no line is longer than `columns`, and there are at most `rows` of them. */
export function watchText(picture: Picture, paint: Paint, { columns, rows }: Size): string {
  const { at, status, items, trouble } = picture;
  const time = at.toTimeString().slice(0, 8);
  const summary = fit(trouble ?? summaryText(status), columns - time.length - 2);
  const first = `${tint(picture, paint)(summary)}${" ".repeat(columns - summary.length - time.length)}${paint.dim(time)}`;
  const warning = status.insecure_skip_verify ? [paint.bad("the ingress's certificate is NOT verified")] : [];

  const entries = items.map((item) => entryOf(item, paint));
  const shown = choose(items, entries, rows - 4 - warning.length);
  const urlWidth = columns - 2 - numbersWidth(items);
  const cells = shown.map((i) => entries[i]?.cells ?? []);
  const lines = table(headings, [totalCells(items), ...cells], paint).split("\n");
  void urlWidth;
  return [first, ...warning, "", ...lines].join("\n");
}

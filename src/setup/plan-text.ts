import { socketGroup } from "../model/access.ts";
import type { Paint } from "../terminal/say.ts";
import { wrapped } from "../terminal/width.ts";
import type { Change, KeyState, Plan, ServiceChange } from "./plan.ts";

/** Pure: the plan for people, a number for each change. */
export function planText({ changes, warnings, notes }: Plan, paint: Paint, width: number): string {
  const lines = changes.flatMap((change, i) => [
    ...block(`  ${i + 1}. `, changeText(change), width),
    ...detailsOf(change).map((line) => `       ${line}`),
  ]);
  const marked = (mark: string, texts: readonly string[]): string[] =>
    texts.flatMap((text) => {
      const [first = "", ...rest] = block(`${mark} `, text, width);
      return [first.replace(mark, paint.careful(mark)), ...rest];
    });
  const remarks = [...marked("warning:", warnings), ...marked("note:", notes)];
  return [paint.bold("The plan:"), ...lines, ...remarks].join("\n");
}

/** Pure: one change that has been made. */
export const doneText = (text: string, width: number): string =>
  block("done: ", text, width).join("\n");

/** A text behind its mark, wrapped to the width. */
function block(mark: string, text: string, width: number): string[] {
  const [first = "", ...rest] = wrapped(text, width - mark.length);
  return [mark + first, ...rest.map((line) => " ".repeat(mark.length) + line)];
}

/** Pure: one change in words. */
export function changeText(change: Change): string {
  switch (change.kind) {
    case "set-aside":
      return `keep the broken ${change.path} beside it, and write a new one`;
    case "create":
      return `write ${change.path}, with every setting explained`;
    case "key":
      return keyText(change.key, change.path);
    case "settings":
      return `change ${change.path}; its comments stay`;
    case "service":
      return serviceText(change);
  }
}

const keyText = (key: KeyState, path: string): string =>
  ({
    accepted: `save the API key in ${path}; ngrok accepts it`,
    unchecked: `save the API key in ${path}, without a check`,
    asked: `ask for the API key, let ngrok check it, and save it in ${path}`,
  })[key];

function serviceText({ does, path, member, start, restart }: ServiceChange): string {
  const joins =
    member === undefined ? [] : [`make ${member} a member of the group "${socketGroup}"`];
  const starts = start ? "start it now and at every boot" : "start it at every boot";
  const main = {
    install: [`install the service ${path}`, starts],
    update: [`update the service ${path}`, ...(restart ? [] : [starts])],
    "take-over": [`stop the Go program's service, keep its unit, and install ${path}`, starts],
    start: [
      start ? `start the service ${path} now and at every boot` : `let ${path} start at boot`,
    ],
    join: [],
  }[does];
  return [...joins, ...main, ...(restart ? ["restart it"] : [])].join(", ");
}

/** The settings, each with its value before and after. Secrets are in words. */
function detailsOf(change: Change): string[] {
  if (change.kind !== "settings") return [];
  const width = Math.max(...change.changes.map(({ key }) => key.length));
  return change.changes.map(
    ({ key, from, to }) => `${key.padEnd(width)}  ${valueText(from)} -> ${valueText(to)}`,
  );
}

const valueText = (value: unknown): string =>
  typeof value === "string" && value !== "" ? value : JSON.stringify(value);

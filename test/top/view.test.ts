import { describe, expect, test } from "bun:test";
import { rowsOf, sorts } from "../../src/top/rows.ts";
import { firstView, pressed, topFor } from "../../src/top/view.ts";
import { after, drawn, endpoint, look, open } from "./support.ts";

const names = (items: readonly { hostname: string }[]): string[] =>
  items.map(({ hostname }) => hostname.replace(".demo", ""));

describe("the rows", () => {
  const latency = (p50: number, p99: number) => ({
    latency_ms: { upgrade: null, first_byte: { count: 1, p50, p90: p50, p99 } },
  });
  const items = [
    endpoint("b", { ...open(1), ...latency(9, 10) }, { bytes_up: 5 }),
    endpoint("a", { ...open(3, { errors: 2 }), ...latency(1, 90) }, { bytes_down: 50 }),
    endpoint("c", { state: "failed", reason: "port taken" }),
  ];
  const all = { isReversed: false, search: "" };

  test.each([
    ["traffic", ["a", "b", "c"]],
    ["name", ["a", "b", "c"]],
    ["state", ["c", "b", "a"]],
    ["open", ["a", "b", "c"]],
    ["up", ["b", "a", "c"]],
    ["down", ["a", "b", "c"]],
    ["p50", ["b", "a", "c"]],
    ["p99", ["a", "b", "c"]],
    ["errors", ["a", "b", "c"]],
  ] as const)("are sorted by %s", (sort, order) => {
    expect(names(rowsOf(items, { ...all, sort }))).toEqual([...order]);
  });

  test("are reversed, and searched in name, address, state and reason", () => {
    expect(names(rowsOf(items, { ...all, sort: "name", isReversed: true }))).toEqual([
      "c",
      "b",
      "a",
    ]);
    for (const [search, found] of [
      ["C.DEMO", ["c"]],
      ["taken", ["c"]],
      ["failed", ["c"]],
      ["nothing", []],
    ] as const)
      expect({ search, found: names(rowsOf(items, { ...all, sort: "name", search })) }).toEqual({
        search,
        found: [...found],
      });
  });
});

describe("a key", () => {
  const items = Array.from({ length: 100 }, (_, i) => endpoint(`e${String(i).padStart(2, "0")}`));
  const seen = look(items);
  const cursor = (keys: readonly string[]): string =>
    drawn(seen, after(seen, keys))
      .find((line) => line.startsWith("> "))
      ?.slice(2, 5) ?? "none";

  test.each([
    [["down", "j", "down"], "e03"],
    [["down", "down", "up"], "e01"],
    [["up"], "e00"],
    [["pagedown"], "e17"],
    [["pagedown", "pagedown", "pageup"], "e17"],
    [["end"], "e99"],
    [["end", "down"], "e99"],
    [["G", "g"], "e00"],
    [["end", "home", "k"], "e00"],
  ] as const)("moves the cursor: %j to %s", (keys, row) => {
    expect(cursor(keys)).toBe(row);
  });

  test("keeps the cursor in sight, and on its row when the order changes", () => {
    const view = after(seen, ["down", "down"]);
    const other = look([...items.slice(2), endpoint("e00"), endpoint("e01")]);
    expect(drawn(other, view).filter((line) => line.startsWith("> e02"))).toHaveLength(1);
    expect(topFor(0, 30, 10, 100)).toBe(21);
    expect(topFor(25, 30, 10, 100)).toBe(25);
    expect(topFor(95, 99, 10, 100)).toBe(90);
    expect(topFor(5, 0, 10, 3)).toBe(0);
  });

  test("opens an endpoint and comes back, to the same row", () => {
    const view = after(seen, ["down", "enter"]);
    expect(view.page).toMatchObject({ kind: "endpoint", name: "e01.demo:80" });
    const back = after(seen, ["escape"], undefined, view);
    expect({ page: back.page.kind, row: back.place.row }).toEqual({
      page: "table",
      row: view.page.kind === "endpoint" ? view.page.row : "",
    });
  });

  test("searches while it is typed, and Esc shows all again", () => {
    const view = after(seen, ["/", "e", "4", "x", "backspace", "enter"]);
    expect({ search: view.order.search, typing: view.typing }).toEqual({
      search: "e4",
      typing: false,
    });
    expect(after(seen, ["/", "q", "?", "ctrl-u", "1"]).order.search).toBe("1");
    expect(after(seen, ["/", "e", "escape"]).order.search).toBe("");
    expect(after(seen, ["escape"], undefined, view).order.search).toBe("");
  });

  test("sorts, reverses, pauses and helps", () => {
    expect(after(seen, ["s"]).order.sort).toBe("name");
    expect(after(seen, ["S"]).order.sort).toBe(sorts.at(-1) ?? "traffic");
    expect(
      after(
        seen,
        sorts.map(() => "s"),
      ).order.sort,
    ).toBe("traffic");
    expect(after(seen, ["r"]).order.isReversed).toBe(true);
    expect(after(seen, ["p"]).isPaused).toBe(true);
    expect(after(seen, ["p", " "]).isPaused).toBe(false);
    expect(after(seen, ["?"]).page.kind).toBe("help");
    expect(after(seen, ["enter", "f1", "escape"]).page.kind).toBe("endpoint");
  });

  test("quits, suspends and redraws, also while a text is typed", () => {
    const ground = { rows: items, height: 10, lines: 0 };
    const view = { ...firstView(), typing: true };
    for (const [key, kind] of [
      ["ctrl-c", "quit"],
      ["ctrl-z", "suspend"],
      ["ctrl-l", "redraw"],
      ["q", "view"],
    ] as const)
      expect({ key, kind: pressed(view, key, ground).kind }).toEqual({ key, kind });
    expect(pressed(firstView(), "q", ground).kind).toBe("quit");
  });

  test("does nothing if there is no endpoint, or no such key", () => {
    const empty = look([]);
    expect(after(empty, ["down", "end", "enter", "x"])).toEqual(firstView());
  });
});

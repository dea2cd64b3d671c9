import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { NgrokdError } from "../../src/model/error.ts";
import { bytesText, createSay, durationText, facts } from "../../src/terminal/say.ts";
import { table } from "../../src/terminal/table.ts";
import { marked, plain, sink } from "../cli/support.ts";

describe("createSay", () => {
  test("sends results to stdout and everything else to stderr", () => {
    const { say, out, err } = speaker();
    say.result({ a: 1 }, "text");
    say.result({ a: 1 }, () => "made when needed");
    say.note("by the way");
    say.warn("mind this");
    say.error(new NgrokdError("api", "no", { hint: "do this\nor that" }));
    expect(out.text).toBe("text\nmade when needed\n");
    expect(err.text).toBe(
      "by the way\nwarning: mind this\nerror: no\nhint:  do this\nhint:  or that\n",
    );
  });

  test.each([false, true])("lets no text turn the direction of writing; json: %p", (json) => {
    const { say, out, err } = speaker({ json });
    say.result("a\u202eb", "a\u202eb");
    say.note("\u2066c");
    say.error(new NgrokdError("api", "\u200fd"));
    const all = out.text + err.text;
    expect(all).toContain("a\\u202eb");
    expect(all).not.toMatch(/[\u200f\u202e\u2066]/);
  });

  test.each([false, true])("lets no text move the cursor; json: %p", (json) => {
    const bad = "a\x1b[2J\x1b]0;t\x07b\x9b2J\x7f\r\x08c";
    const { say, out, err } = speaker({ json });
    say.result(bad, bad);
    say.ready(bad, bad);
    say.note(bad);
    say.warn(bad);
    say.error(new NgrokdError("api", bad, { hint: bad }));
    for (const text of [out.text, err.text]) expect(text).not.toMatch(/[^\n\P{Cc}]/u);
    expect(out.text + (json ? "" : err.text)).toContain("\\u001b[2J");
    if (json) expect(JSON.parse(out.text.split("\n")[0] ?? "")).toBe(bad);
  });

  test("colours what it paints, and no text from outside paints otherwise", () => {
    const out = sink({ isTerminal: true });
    const say = createSay({ json: false, debug: false, env: {}, out, err: out });
    say.result({}, say.paint.bad(`x${"\x1b[8m"}hidden\x1b[30m`));
    expect(out.text).toBe("\x1b[31mx\\u001b[8mhidden\\u001b[30m\x1b[39m\n");
  });

  test("what is shown in place keeps the screen, whatever is in it", () => {
    const out = sink({ isTerminal: true });
    const live = createSay({ json: false, debug: false, env: {}, out, err: out }).live();
    live.show({}, () => "a\x1b[1;1Hb");
    live.end();
    expect(out.text).toContain("\x1b[?1049h");
    expect(out.text).toContain("a\\u001b[1;1Hb");
  });

  test("lets no error or warning move the cursor of a terminal", () => {
    const { say, err } = speaker();
    say.warn("\u001b[2Ja\rb");
    say.error(new NgrokdError("api", "c\u001b[31m\n  d", { hint: "e\u0007" }));
    expect(err.text).toBe(
      "warning: \\u001b[2Ja\\u000db\nerror: c\\u001b[31m\n  d\nhint:  e\\u0007\n",
    );
  });

  test("prints one JSON value on stdout with --json, errors included, and makes no text", () => {
    const { say, out, err } = speaker({ json: true });
    say.result({ a: [1] }, () => {
      throw new Error("not asked for");
    });
    expect(JSON.parse(out.text)).toEqual({ a: [1] });
    out.text = "";
    say.error(new NgrokdError("api", "no", { hint: "wait", details: { operationId: "op_1" } }));
    expect(JSON.parse(out.text)).toEqual({
      error: { code: "api", message: "no", hint: "wait", operationId: "op_1" },
    });
    out.text = "";
    say.error(new TypeError("x is\nundefined"));
    expect({ out: JSON.parse(out.text), err: err.text }).toEqual({
      out: { error: { code: "internal", message: "x is undefined" } },
      err: "",
    });
  });

  test("shows stacks and causes with --debug alone", () => {
    const error = new NgrokdError("api", "no", { cause: new Error("the cause") });
    const { say, err } = speaker({ debug: true });
    say.error(error);
    expect(err.text).toMatch(
      /^error: no\nNgrokdError: no\n {4}at .*\ncaused by Error: the cause\n {4}at /s,
    );
    const quiet = speaker();
    quiet.say.error(error);
    expect(quiet.err.text).toBe("error: no\n");
  });

  test("accepts any thrown value", () => {
    for (const [thrown, text] of [
      ["text", "text"],
      [undefined, "undefined"],
      [new Error("two\nlines"), "two lines"],
    ] as const) {
      const { say, err } = speaker();
      say.error(thrown);
      expect(err.text).toBe(`error: ${text}\n`);
    }
  });

  test.each([
    ["both on a terminal", true, true, {}, true, true],
    ["only stdout on a terminal", true, false, {}, true, false],
    ["only stderr on a terminal", false, true, {}, false, true],
    ["NO_COLOR", true, true, { NO_COLOR: "1" }, false, false],
    ["an empty NO_COLOR, which means nothing", true, true, { NO_COLOR: "" }, true, true],
    ["a terminal that knows no colours", true, true, { TERM: "dumb" }, false, false],
  ])(
    "colours only on a terminal: %s",
    (_name, outIsTerminal, errIsTerminal, env, coloured, errColoured) => {
      const { say, err } = speaker(
        { env },
        { isTerminal: outIsTerminal },
        { isTerminal: errIsTerminal },
      );
      say.warn("x");
      expect({ out: say.paint.good("x") !== "x", err: err.text.includes("\x1b") }).toEqual({
        out: coloured,
        err: errColoured,
      });
    },
  );

  test.each([
    [undefined, 80],
    [200, 200],
    [10, 60],
  ])("takes a terminal of %p columns for %d", (columns, width) => {
    expect(speaker({}, { columns }).say.width).toBe(width);
  });
});

describe("table", () => {
  test("puts columns two spaces apart, as wide as their cells, with no trailing blank", () => {
    const rows = [
      ["http://a.demo", "127.0.0.2:80", ""],
      ["tcp://database.demo:5432", "-", "listening"],
    ];
    expect(table(["URL", "ADDRESS", "STATE"], rows, plain).split("\n")).toEqual([
      "URL                       ADDRESS       STATE",
      "http://a.demo             127.0.0.2:80",
      "tcp://database.demo:5432  -             listening",
    ]);
    expect(table(["A", "B"], [], marked)).toBe("*A*  *B*");
  });

  test("keeps each cell on its line", () => {
    expect(table(["A", "B"], [["x\ny\tz", "1"]], plain)).toBe("A      B\nx y z  1");
    expect(facts([["Reason", "x\nState:  fine"]], plain)).toBe("Reason:  x State:  fine");
  });

  test("does not count colours", () => {
    expect(
      table(
        ["A", "B"],
        [
          ["\x1b[31mred\x1b[39m", "x"],
          ["plain", "y"],
        ],
        plain,
      ).split("\n")[1],
    ).toBe("\x1b[31mred\x1b[39m    x");
  });

  test("cuts nothing", () => {
    const cell = fc.string({ unit: fc.constantFrom(..."az09:/.-*"), minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell, cell), { maxLength: 6 }), (rows) => {
        const [, ...lines] = table(["A", "B", "C"], rows, plain).split("\n");
        expect(lines.map((line) => line.split(/ +/))).toEqual(rows);
        expect(new Set(lines.map((line) => line.lastIndexOf(" "))).size).toBeLessThanOrEqual(1);
      }),
    );
  });
});

test("facts puts values into one column", () => {
  expect(
    facts(
      [
        ["State", "serving"],
        ["Health server", "a\tb"],
      ],
      plain,
    ),
  ).toBe("State:          serving\nHealth server:  a\tb");
  expect(facts([["A", "x"]], marked)).toBe(".A: . x");
});

describe("bytesText", () => {
  test.each([
    [0, "0"],
    [1, "1 B"],
    [1023, "1023 B"],
    [1024, "1.0 KiB"],
    [1536, "1.5 KiB"],
    [102_400, "100 KiB"],
    [1023.4 * 1024, "1023 KiB"],
    [1023.6 * 1024, "1.0 MiB"],
    [5 * 1024 ** 3, "5.0 GiB"],
    [2 ** 50, "1.0 PiB"],
    [0.4, "0"],
  ])("%d is %s", (bytes, text) => {
    expect(bytesText(bytes)).toBe(text);
  });

  test("never takes more than 8 characters", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1000 * 2 ** 50, noNaN: true }), (bytes) => {
        expect(bytesText(bytes).length).toBeLessThanOrEqual(8);
      }),
    );
  });
});

describe("durationText", () => {
  test.each([
    [-5, "0 ms"],
    [0, "0 ms"],
    [0.4, "0 ms"],
    [999, "999 ms"],
    [1000, "1 s"],
    [59_999, "59 s"],
    [60_000, "1 min"],
    [61_500, "1 min 1 s"],
    [3_600_000, "1 h"],
    [3_659_000, "1 h"],
    [93_784_500, "1 d 2 h"],
    [86_400_000 * 400, "400 d"],
  ])("calls %d ms %s", (ms, text) => {
    expect(durationText(ms)).toBe(text);
  });

  test("never says more than it was, and less than a tenth off from a minute on", () => {
    const size = { d: 86_400_000, h: 3_600_000, min: 60_000, s: 1000, ms: 1 } as Record<
      string,
      number
    >;
    fc.assert(
      fc.property(fc.integer({ min: 60_000, max: 86_400_000 * 1000 }), (ms) => {
        const said = [...durationText(ms).matchAll(/(\d+) (\w+)/g)].reduce(
          (sum, [, n, unit]) => sum + Number(n) * (size[unit ?? ""] ?? Number.NaN),
          0,
        );
        expect(said).toBeWithin(ms * 0.9, ms + 1);
      }),
    );
  });
});

function speaker(
  options: Partial<Pick<Parameters<typeof createSay>[0], "json" | "debug" | "env">> = {},
  ofOut: Parameters<typeof sink>[0] = {},
  ofErr: Parameters<typeof sink>[0] = {},
) {
  const out = sink(ofOut);
  const err = sink(ofErr);
  return { out, err, say: createSay({ json: false, debug: false, env: {}, ...options, out, err }) };
}

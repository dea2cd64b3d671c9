import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import fc from "fast-check";
import { createLog, type LogOptions, redact } from "../../src/observe/daemon-log.ts";
import { kindOf } from "../../src/observe/log-budget.ts";
import { anyText } from "../support/texts.ts";

const noon = new Date(2026, 0, 2, 12, 0, 0);

beforeEach(() => {
  jest.useFakeTimers();
  jest.setSystemTime(noon);
});
afterEach(() => {
  jest.useRealTimers();
});

describe("a line of the log", () => {
  test("is one JSON object with time, level, message and fields without a terminal", () => {
    const { log, lines } = written({ format: "auto", isTerminal: false });
    log.warn("The poll failed", {
      hint: "wait",
      endpoint: "a.demo:80",
      tries: 2,
      again: true,
      code: undefined,
    });
    expect(lines()).toEqual([
      `{"time":"${noon.toISOString()}","level":"warn","message":"The poll failed",` +
        `"hint":"wait","endpoint":"a.demo:80","tries":2,"again":true}`,
    ]);
    log.info("");
    expect(JSON.parse(lines()[1] ?? "")).toEqual({
      time: noon.toISOString(),
      level: "info",
      message: "",
    });
  });

  test("is text with the hint below it on a terminal, or if asked for", () => {
    const { log, lines } = written({ format: "text", isTerminal: false });
    log.error("Cannot listen", { hint: "name another port", port: 80 });
    log.info("ngrokd is up");
    expect(lines()).toEqual([
      "12:00:00 error Cannot listen",
      "         hint: name another port",
      "12:00:00 info  ngrokd is up",
    ]);
    const shown = written({ format: "auto", isTerminal: true });
    shown.log.debug("x");
    expect(Bun.stripANSI(shown.lines().join())).toBe("12:00:00 debug x");
    expect(written({ format: "json", isTerminal: true }, "x").lines().join()).toStartWith("{");
  });

  test("is coloured on a terminal alone, and never with NO_COLOR", () => {
    const before = process.env.NO_COLOR;
    delete process.env.NO_COLOR;
    try {
      expect(written({ format: "text", isTerminal: false }, "x").lines().join()).not.toContain(
        "\x1b",
      );
      expect(written({ format: "text", isTerminal: true }, "x").lines().join()).toBe(
        "12:00:00 \x1b[36minfo \x1b[39m x",
      );
      process.env.NO_COLOR = "yes";
      expect(written({ format: "text", isTerminal: true }, "x").lines().join()).not.toContain(
        "\x1b",
      );
    } finally {
      if (before === undefined) delete process.env.NO_COLOR;
      else process.env.NO_COLOR = before;
    }
  });

  test("stays one line whatever came from outside, and moves no cursor", () => {
    fc.assert(
      fc.property(anyText, anyText, (message, hint) => {
        const text = written({ format: "text" }, `a${message}z`, { hint: `a${hint}z` }).lines();
        expect(text.length).toBe(2);
        expect(text.join("")).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
        const [json = "", ...more] = written({ format: "json" }, message, { hint }).lines();
        expect(more).toEqual([]);
        expect(JSON.parse(json)).toMatchObject({ message, hint });
      }),
    );
    expect(written({ format: "text" }, "two\r\nlines\x1b[2J\x9b2J\u2028.").lines()).toEqual([
      "12:00:00 info  two lines [2J 2J .",
    ]);
  });
});

test.each(["json", "text"] as const)("no text turns the direction of writing: %s", (format) => {
  const { log, lines } = written({ format, isTerminal: false });
  log.warn("refused: a\u202eb\u2066c", { hint: "\u200fd" });
  expect(lines().join()).toContain("a\\u202eb\\u2066c");
  expect(lines().join()).toContain("\\u200fd");
  expect(lines().join()).not.toMatch(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/);
});

test("each line has its priority for the journal", () => {
  const { log, lines } = written({ format: "text", toJournal: true });
  log.error("a", { hint: "h" });
  log.warn("b");
  log.info("c");
  log.debug("d");
  expect(lines()).toEqual([
    "<3>12:00:00 error a",
    "<3>         hint: h",
    "<4>12:00:00 warn  b",
    "<6>12:00:00 info  c",
    "<7>12:00:00 debug d",
  ]);
  expect(written({ toJournal: true }, "x").lines()[0]).toStartWith('<6>{"time"');
});

test("the format may be set later, from one line to the next", () => {
  const { log, lines } = written({ format: "json" });
  log.info("one");
  log.setFormat("text");
  log.info("two");
  log.setFormat("auto");
  log.info("three");
  expect(lines().map((line) => line.startsWith("{"))).toEqual([true, false, true]);
});

describe("levels", () => {
  test.each([
    ["debug", "debug info warn error"],
    ["info", "info warn error"],
    ["warn", "warn error"],
    ["error", "error"],
  ] as const)("%s lets %s through, also when it is set later", (level, through) => {
    const first = written({ level });
    const second = written({ level: level === "debug" ? "error" : "debug" });
    second.log.setLevel(level);
    for (const { log, lines } of [first, second]) {
      for (const one of ["debug", "info", "warn", "error"] as const) log[one](one);
      expect(
        lines()
          .map((line) => JSON.parse(line).level)
          .join(" "),
      ).toBe(through);
    }
  });
});

describe("repeats", () => {
  const messages = (lines: string[]): string[] => lines.map((line) => JSON.parse(line).message);

  test("are counted for the window, and their number is logged at its end", () => {
    const { log, lines } = written({ repeatWindowMs: 60_000 });
    for (let i = 0; i < 1000; i += 1) log.warn("no route", { hint: "check the cable" });
    jest.advanceTimersByTime(59_999);
    expect(messages(lines())).toEqual(["no route"]);
    jest.advanceTimersByTime(1);
    expect(messages(lines())).toEqual(["no route", "no route (999 more times)"]);
    expect(JSON.parse(lines()[1] ?? "")).toMatchObject({ level: "warn", hint: "check the cable" });
    log.warn("no route");
    log.warn("no route");
    jest.advanceTimersByTime(60_000);
    expect(messages(lines()).slice(2)).toEqual(["no route", "no route (1 more time)"]);
  });

  test("are not held back at info, which reports changes", () => {
    const { log, lines } = written();
    log.info("The poll works again");
    log.info("The poll works again");
    expect(messages(lines())).toEqual(["The poll works again", "The poll works again"]);
  });

  test("are distinguished by message and level, and a single message is logged once", () => {
    const { log, lines } = written();
    log.warn("a");
    log.error("a");
    log.warn("b");
    jest.advanceTimersByTime(600_000);
    expect(messages(lines())).toEqual(["a", "a", "b"]);
  });

  test("that are held back are logged by flush()", () => {
    const { log, lines } = written();
    log.warn("a");
    log.warn("a");
    log.flush();
    expect(messages(lines())).toEqual(["a", "a (1 more time)"]);
    jest.advanceTimersByTime(600_000);
    expect(lines().length).toBe(2);
  });

  test("of messages below the level leave no count", () => {
    const { log, lines } = written({ level: "error" });
    for (let i = 0; i < 3; i += 1) log.warn("a");
    log.flush();
    expect(lines()).toEqual([]);
  });

  test("whose texts differ cost a few lines, and their number", () => {
    const { log, lines } = written();
    for (let i = 0; i < 2000; i += 1)
      log.warn(`name-${i}.demo:80: the ingress refused: ERR_NGROK_3200: reason ${i}`);
    expect(lines().length).toBe(20);
    // Another kind is told all the same.
    log.warn("The certificate cannot be renewed");
    log.error("The hosts file cannot be written");
    expect(messages(lines()).slice(20)).toEqual([
      "The certificate cannot be renewed",
      "The hosts file cannot be written",
    ]);
    expect(jest.getTimerCount()).toBe(1);
    jest.advanceTimersByTime(60_000);
    expect(messages(lines()).slice(22)).toEqual([
      "name-1999.demo:80: the ingress refused: ERR_NGROK_3200: reason 1999 (1980 others)",
    ]);
    log.warn("name-1.demo:80: the ingress refused: ERR_NGROK_3200: reason 1");
    expect(lines().length).toBe(24);
  });

  test("of ever new kinds have a limit together", () => {
    const { log, lines } = written();
    const word = (i: number): string => [...`${i}`].map((digit) => "abcdefghij"[+digit]).join("");
    for (let i = 0; i < 3000; i += 1) log.warn(`${word(i)} is a kind`);
    expect(lines().length).toBe(200);
    log.flush();
    expect(messages(lines()).slice(200)).toEqual(["cjjj is a kind (2800 others)"]);
  });

  test("of info are told up to a limit, since a list can change all the time", () => {
    const { log, lines } = written();
    for (let i = 0; i < 500; i += 1) log.info(`http://a${i}.demo listens on 127.0.0.2:80`);
    expect(lines().length).toBe(100);
    log.flush();
    expect(messages(lines()).at(-1)).toBe("http://a499.demo listens on 127.0.0.2:80 (400 others)");
  });

  test.each([
    ["a.demo:80: the ingress refused: ERR_NGROK_1: x y", "b-c:1: the ingress refused: other z"],
    ['Cannot read "/a b": it is gone', 'Cannot read "/c \\"d": it is gone'],
    ["a.demo:1: ngrok says: one two", "b.demo:1: ngrok says: three four"],
    ["http://x.demo is not served: why", "http://y.demo is not served: wherefore"],
    ["127.0.0.2:80 was closed, and 3 are open", "[::1]:443 was closed, and 12 are open"],
  ])("are of one kind: %s", (one, other) => {
    expect(kindOf(`warn ${one}`)).toBe(kindOf(`warn ${other}`));
  });

  test.each([
    ["a.demo:80: the ingress refused: x", "a.demo:80: cannot reach the endpoint: x"],
    ['Cannot read "/a"', 'Cannot write "/a"'],
  ])("are of two kinds: %s", (one, other) => {
    expect(kindOf(`warn ${one}`)).not.toBe(kindOf(`warn ${other}`));
  });
});

describe("secrets", () => {
  const key = '2abc"def\\ghi';

  test("reach no line, in no spelling", () => {
    for (const format of ["json", "text"] as const) {
      const { log, lines } = written({ format, secrets: () => [key] });
      log.info(`the key ${key} and ${key}`, { hint: `not ${key}`, field: key });
      expect(lines().join("\n")).not.toContain("def");
      expect(lines().join("\n").split("[redacted]").length).toBeGreaterThan(3);
    }
    expect(
      JSON.parse(
        written({ secrets: () => [key] }, key)
          .lines()
          .join(),
      ).message,
    ).toBe("[redacted]");
  });

  test("are read again for every line", () => {
    const secrets: string[] = [];
    const { log, lines } = written({ secrets: () => secrets });
    log.info("before hunter22");
    secrets.push("hunter22");
    log.info("after hunter22");
    expect(lines().map((line) => JSON.parse(line).message)).toEqual([
      "before hunter22",
      "after [redacted]",
    ]);
  });

  test("that begin one another leave no rest, and a very short one changes nothing", () => {
    expect(redact("abcdefgh abcd", ["abcd", "abcdefgh"])).toBe("[redacted] [redacted]");
    expect(redact("a b c", ["", "a", "abc"])).toBe("a b c");
  });
});

/** A log and its lines; level debug and format JSON by default. */
function written(options: Partial<LogOptions> = {}, message?: string, fields?: { hint: string }) {
  let text = "";
  const write = (line: string): void => {
    text += line;
  };
  const log = createLog({
    level: "debug",
    format: "json",
    isTerminal: false,
    write,
    secrets: () => [],
    ...options,
  });
  if (message !== undefined) log.info(message, fields);
  return { log, lines: () => text.split("\n").slice(0, -1) };
}

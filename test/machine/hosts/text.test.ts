import { describe, expect, spyOn, test } from "bun:test";
import fc from "fast-check";
import { beginLine, editHosts, endLine, pinsIn } from "../../../src/machine/hosts/text.ts";
import type { Hostname } from "../../../src/model/hostname.ts";
import { type Ip, ipFromNumber } from "../../../src/model/ip.ts";
import { host, ip6, mapping, subnet } from "../support.ts";

const two = mapping({ "b.demo": "127.0.0.2", "a.demo": "127.0.0.3" });
const none: ReadonlyMap<Hostname, Ip> = new Map();
const sectionOfTwo = `${beginLine}\n127.0.0.3\ta.demo\n127.0.0.2\tb.demo\n${endLine}\n`;

/** The text after the edit, and the repairs. */
function edited(
  text: string,
  entries: ReadonlyMap<Hostname, Ip> = two,
): { text: string; repairs: readonly string[] } {
  const edit = editHosts(text, entries);
  if (edit.kind === "refused") throw new Error(edit.reason);
  return edit.kind === "same" ? { text, repairs: [] } : { text: edit.text, repairs: edit.repairs };
}

describe("editHosts", () => {
  test("puts the section at the end, sorted by name", () => {
    expect(edited("127.0.0.1 localhost\n")).toEqual({
      text: `127.0.0.1 localhost\n${sectionOfTwo}`,
      repairs: [],
    });
    expect(edited("")).toEqual({ text: sectionOfTwo, repairs: [] });
  });

  test("returns the value same if nothing changes", () => {
    expect(editHosts(`# mine\n${sectionOfTwo}::1 localhost\n`, two)).toEqual({
      kind: "same",
      shadowed: [],
    });
    expect(editHosts("# mine\n", none)).toEqual({ kind: "same", shadowed: [] });
    expect(editHosts("", none)).toEqual({ kind: "same", shadowed: [] });
  });

  test("leaves an existing section in its place, also the Go program's unsorted one", () => {
    const text = `# above\n\n${beginLine}\n10.107.0.3\tz.default\n10.107.0.2\told.default\n${endLine}\n\n# below`;
    expect(edited(text)).toEqual({ text: `# above\n\n${sectionOfTwo}\n# below`, repairs: [] });
    expect(edited(text, none).text).toBe("# above\n\n\n# below");
  });

  test("uses CRLF if the file does", () => {
    expect(edited("# mine\r\n\r\n# odd\n").text).toBe(
      `# mine\r\n\r\n# odd\n${sectionOfTwo.replaceAll("\n", "\r\n")}`,
    );
    expect(edited("# as many\r\n# of both\n").text).toBe(`# as many\r\n# of both\n${sectionOfTwo}`);
    expect(edited("# mine\n\n# odd\r\n").text).toBe(`# mine\n\n# odd\r\n${sectionOfTwo}`);
  });

  test("turns its lines to CRLF when an editor has done so with the file, and back", () => {
    const text = `# mine\n${sectionOfTwo}`;
    expect(editHosts(text.replaceAll("\n", "\r\n"), two).kind).toBe("same");
    expect(edited(`# mine\r\n${sectionOfTwo}`).text).toBe(text.replaceAll("\n", "\r\n"));
  });

  test("ends a last line that has no end, and takes that back with the section", () => {
    for (const text of [
      "# mine",
      "# a\r\n# mine",
      "# a\n# mine\r",
      "# a\r\n# mine\r",
      "\r",
      " ",
      "\xef\xbb\xbf# mine",
    ]) {
      const withSection = edited(text).text;
      expect(withSection).toStartWith(
        `${text}${text.includes("\r\n") ? "\r\n" : "\n"}${beginLine}`,
      );
      expect(withSection).toEndWith("\n");
      expect(editHosts(withSection, two).kind).toBe("same");
      expect(edited(withSection, none).text).toBe(text);
    }
  });

  test("keeps a line that another program appended later, and the line end above it", () => {
    const appended = `${edited("# mine").text}10.1.1.1 theirs\n`;
    expect(edited(appended, none).text).toBe("# mine\n10.1.1.1 theirs\n");
    const updated = edited(appended, mapping({ "c.demo": "127.0.0.4" })).text;
    expect(updated).toBe(`# mine\n${beginLine}\n127.0.0.4\tc.demo\n${endLine}\n10.1.1.1 theirs\n`);
  });

  test("takes no line end back that it would not have given", () => {
    const note = edited("x").text.split("\n")[2] ?? "";
    const section = `${beginLine}\n${note}\n${endLine}\n`;
    for (const above of ["", "\n", "# a\n\n", "# a\r\n# b\r\n"])
      expect(edited(above + section, none).text).toBe(above);
  });
});

describe("editHosts, on odd text", () => {
  test("keeps non-UTF-8 bytes, NULs, lone carriage returns and lines of a megabyte", () => {
    const text = `\x00\xff\xfe\xc3\n${"x".repeat(1_000_000)}\r# \xe9\r\n${" ".repeat(1_000_000)}x\n`;
    expect(edited(text).text).toBe(text + sectionOfTwo);
    expect(edited(edited(text).text, none).text).toBe(text);
  });

  test("keeps a byte order mark in front, and finds a section right behind it", () => {
    expect(edited("\xef\xbb\xbf").text).toBe(`\xef\xbb\xbf${sectionOfTwo}`);
    expect(edited(`\xef\xbb\xbf${sectionOfTwo}`, none).text).toBe("\xef\xbb\xbf");
  });

  test("refuses UTF-16", () => {
    for (const text of ["\xff\xfe#\0", "\xfe\xff\0#"]) {
      expect(editHosts(text, two)).toEqual({
        kind: "refused",
        reason: expect.stringContaining("UTF-16"),
      });
    }
  });

  test("takes markers for such only as whole lines", () => {
    const text = `# ${beginLine}\n ${endLine}\n${beginLine} no\n#${endLine.slice(1)}s\n${beginLine.toLowerCase()}\n`;
    expect(edited(text)).toEqual({ text: text + sectionOfTwo, repairs: [] });
    expect(edited(`${beginLine} \t\r\n${endLine}  \n# mine\n`)).toEqual({
      text: `${sectionOfTwo}# mine\n`,
      repairs: [],
    });
  });
});

describe("editHosts, on a damaged section", () => {
  test("moves lines that others wrote into the section below it, with a report", () => {
    const ours = "127.0.0.9\told.demo\n";
    const theirs = [
      "# caf\xc3\xa9\n",
      "127.0.0.1\tlocalhost\n",
      "127.0.0.8\tlocalhost\n",
      "127.0.1.1\tmymachine\n",
      "192.168.1.4\tnas.home\n",
      "127.0.0.6\tone.demo two.demo\n",
      "::1\tsix.demo\n",
      "\n",
    ];
    const { text, repairs } = edited(`# a\n${beginLine}\n${theirs.join(ours)}${endLine}\n# z\n`);
    expect(text).toBe(`# a\n${sectionOfTwo}${theirs.join("")}# z\n`);
    const shown = '"# café", "127.0.0.1\\tlocalhost", "127.0.0.8\\tlocalhost", …';
    expect(repairs).toEqual([
      `8 lines that ngrokd did not write were moved from inside the section to below it: ${shown}`,
    ]);
  });

  test("knows entries by the given ranges, and the wanted ones", () => {
    const text = `${beginLine}\n10.9.0.2\told.demo\n172.16.0.2\tb.demo\n${endLine}\n`;
    const wanted = mapping({ "b.demo": "172.16.0.2" });
    const after = `${beginLine}\n172.16.0.2\tb.demo\n${endLine}\n`;
    expect(edited(text, wanted).text).toBe(`${after}10.9.0.2\told.demo\n`);
    expect(editHosts(text, wanted, [subnet("10.9.0.0/16")])).toMatchObject({
      text: after,
      repairs: [],
    });
  });

  test("closes a section without an end: our format and order show our lines", () => {
    const rest = "127.0.0.1\tlocalhost\n127.0.0.6\tmine.demo\n# mine\n";
    expect(edited(`# a\n${beginLine}\n127.0.0.5\td.demo\n127.0.0.4\te.demo\n${rest}`)).toEqual({
      text: `# a\n${sectionOfTwo}${rest}`,
      repairs: ["line 2 began a section that no line ended"],
    });
    // "c" cannot follow "e" in a section of ours.
    const unsorted = "127.0.0.8\tc.demo\n127.0.0.9\tf.demo\n";
    expect(edited(`${beginLine}\n127.0.0.4\te.demo\n${unsorted}`).text).toBe(
      sectionOfTwo + unsorted,
    );
    expect(edited(`${beginLine}\n${rest}`).text).toBe(sectionOfTwo + rest);
    expect(edited(`# a\n${beginLine}`).text).toBe(`# a\n${sectionOfTwo}`);
    expect(edited(edited("# mine").text.replace(`${endLine}\n`, ""), none).text).toBe("# mine");
    // Cut within a line.
    expect(edited(`# a\n${beginLine}\n127.0.0.4\te.demo\n127.0.0.5\tf.de`).text).toBe(
      `# a\n${sectionOfTwo}`,
    );
  });

  test("opens a section without a begin in the same way", () => {
    const above = "127.0.0.1\tlocalhost\n127.0.0.6\tmine.demo\n# mine\n";
    expect(edited(`${above}127.0.0.5\td.demo\n127.0.0.4\te.demo\n${endLine}\n# z\n`)).toEqual({
      text: `${above}${sectionOfTwo}# z\n`,
      repairs: ["line 6 ended a section that no line began"],
    });
    expect(edited(`127.0.0.9\tf.demo\n127.0.0.4\te.demo\n${endLine}\n`).text).toBe(
      `127.0.0.9\tf.demo\n${sectionOfTwo}`,
    );
    expect(edited(`${above}${endLine}\n`, none).text).toBe(above);
    const joined = edited("# mine").text;
    expect(edited(joined.replace(`${beginLine}\n`, "")).text).toBe(`# mine\n${sectionOfTwo}`);
  });

  test("makes one section of two, whatever stands between", () => {
    const second = `${beginLine}\n127.0.0.7\tc.demo\n# theirs\n${endLine}\n`;
    const { text, repairs } = edited(`# a\n${sectionOfTwo}# b\n${second}# c\n`);
    expect(text).toBe(`# a\n${sectionOfTwo}# b\n# theirs\n# c\n`);
    expect(repairs).toEqual([
      "line 7 began another section; there is one now",
      '1 line that ngrokd did not write was moved from inside the section to below it: "# theirs"',
    ]);
    const nested = `${beginLine}\n127.0.0.6\tb.demo\n# b\n${sectionOfTwo}# c\n127.0.0.7\tc.demo\n${endLine}\n`;
    expect(edited(nested).text).toBe(`${sectionOfTwo}# b\n# c\n`);
    expect(edited(nested).repairs).toHaveLength(3);
  });
});

describe("editHosts, beside other entries", () => {
  test("leaves a name to the line outside that gives it another address", () => {
    const text = `127.0.0.1 x B.Demo # a.demo\n#127.0.0.1 a.demo\nnonsense a.demo\n127.0.0.3 a.demo\n`;
    const sectionOfA = `${beginLine}\n127.0.0.3\ta.demo\n${endLine}\n`;
    expect(editHosts(text + sectionOfTwo, two)).toEqual({
      kind: "changed",
      text: text + sectionOfA,
      repairs: [],
      shadowed: [host("b.demo")],
    });
    expect(editHosts(text + sectionOfA, two)).toEqual({ kind: "same", shadowed: [host("b.demo")] });
    const both = [host("a.demo"), host("b.demo")];
    for (const pin of ["::1\ta.demo\tb.demo\n", "10.5.5.5 b.demo.\n10.5.5.5 A.DEMO"])
      for (const pinned of [sectionOfTwo + pin, pin])
        expect(editHosts(pinned, two), pinned).toMatchObject({ shadowed: both });
    expect(edited(`${sectionOfTwo}::1\ta.demo\tb.demo\n`).text).toBe("::1\ta.demo\tb.demo\n");
    expect(editHosts("127.0.0.1 b.demo", none)).toEqual({ kind: "same", shadowed: [] });
  });

  test("looks up each of 10,000 entries a few times, also in a broken file", () => {
    const lookups = [1000, 10_000].map((n) => {
      const entries = new CountingMap(
        Array.from({ length: n }, (_, i) => [
          host(`service-${i}.namespace.example`),
          ipFromNumber(0x7f010001 + i + 2 * Math.floor(i / 254)),
        ]),
      );
      const foreign = Array.from(
        { length: 3 * n },
        (_, i) => `0.0.0.0 tracker-${i}.example.net www.tracker-${i}.example.net\n`,
      ).join("");
      const first = edited(foreign, entries).text;
      expect(editHosts(first, entries).kind).toBe("same");
      edited(`${beginLine}\n`.repeat(n) + first + `${endLine}\n`.repeat(n), entries);
      expect(edited(first, none).text).toBe(foreign);
      return entries.lookups / n;
    });
    // A comparison of every line with every entry would cost thousands.
    expect(lookups[0]).toBeWithin(1, 20);
    expect(lookups[1]).toBe(lookups[0] ?? 0);
  });
});

describe("a section with addresses of both families", () => {
  const six = new Map([[host("a.demo"), ip6("fd11::3")]]);
  const both = `${beginLine}\n127.0.0.3\ta.demo\nfd11::3\ta.demo\n127.0.0.2\tb.demo\n${endLine}\n`;
  const withSix = (text: string, entries = two, sixes = six) => {
    const edit = editHosts(text, entries, undefined, new Map(), sixes);
    return edit.kind === "changed" ? edit.text : edit.kind;
  };

  test("has a line for each, and is found the same and removed whole", () => {
    expect(withSix("# mine\n")).toBe(`# mine\n${both}`);
    expect(withSix(`# mine\n${both}`)).toBe("same");
    expect(edited(`# mine\n${both}`, none).text).toBe("# mine\n");
    expect(edited(both).text).toBe(sectionOfTwo);
  });

  test("is repaired if a marker is gone, and its moved lines are found", () => {
    expect(withSix(`# mine\n${both}`.replace(`${endLine}\n`, ""))).toBe(`# mine\n${both}`);
    expect(withSix(`# mine\n${both}`.replace(`${beginLine}\n`, ""))).toBe(`# mine\n${both}`);
    const moved = "fd11::3 a.demo\n# mine\nfd11::9 a.demo\n";
    const edit = editHosts(moved, none, undefined, two);
    expect(edit).toMatchObject({ kind: "changed", text: "# mine\nfd11::9 a.demo\n" });
    expect(pinsIn(moved, new Set(two.keys()), two)).toEqual(
      new Map([[host("a.demo"), ["fd11::9"]]]),
    );
  });

  test("leaves a name to a line of the user's own with another address of IPv6", () => {
    const edit = editHosts("fd99::1 a.demo\n", two, undefined, new Map(), six);
    expect(edit).toMatchObject({ kind: "changed", shadowed: ["a.demo"] });
    expect(withSix("fd99::1 a.demo\n")).toBe(
      `fd99::1 a.demo\n${beginLine}\n127.0.0.2\tb.demo\n${endLine}\n`,
    );
  });

  test("moves a stranger's address of IPv6 below it", () => {
    const text = both.replace(endLine, `2001:db8::1\tx.demo\n${endLine}`);
    expect(withSix(text)).toBe(`${both}2001:db8::1\tx.demo\n`);
  });
});

describe("a block list of 150,000 lines", () => {
  const list = `127.0.0.1 localhost\n${Array.from({ length: 150_000 }, (_, i) => `0.0.0.0 ads-${i}.example.net\n`).join("")}`;
  const withSection = edited(list).text;
  test("costs an edit no look at the words of its lines", () => {
    const changed = mapping({ "b.demo": "127.0.0.2", "c.demo": "127.0.0.4" });
    let after = "";
    const calls = stringCalls(() => {
      after = edited(withSection, changed).text;
    });
    expect(after).toBe(`${list}${beginLine}\n127.0.0.2\tb.demo\n127.0.0.4\tc.demo\n${endLine}\n`);
    expect(calls).toBeWithin(1, 100);
  });

  test("costs the search for pins and for written lines no look at its words", () => {
    const written = mapping({ "c.demo": "127.0.0.3", "b.demo": "127.0.0.2" });
    let found: ReadonlyMap<Hostname, readonly string[]> = new Map();
    const calls = stringCalls(() => {
      found = pinsIn(`${withSection}10.5.5.5 b.demo\n`, new Set(written.keys()), written);
    });
    expect(found).toEqual(new Map([[host("b.demo"), ["10.5.5.5"]]]));
    expect(calls).toBeWithin(1, 100);
  });
});

/** A map that counts how often an entry is looked up or walked over. */
class CountingMap<K, V> extends Map<K, V> {
  lookups = 0;
  override get(key: K): V | undefined {
    this.lookups += 1;
    return super.get(key);
  }
  override has(key: K): boolean {
    this.lookups += 1;
    return super.has(key);
  }
  override *entries(): MapIterator<[K, V]> {
    for (const entry of super.entries()) {
      this.lookups += 1;
      yield entry;
    }
  }
  override *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key;
  }
  override [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }
}

/**
 * How often `work` splits a string, or runs a regular expression on one. Each
 * line whose words are read costs at least one call.
 */
function stringCalls(work: () => void): number {
  const spies = [spyOn(String.prototype, "split"), spyOn(RegExp.prototype, "exec")];
  try {
    work();
    return spies.reduce((sum, { mock }) => sum + mock.calls.length, 0);
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

const arbitraryEntries = fc
  .array(
    fc.tuple(
      fc.constantFrom("a", "b.demo", "c.demo", "d_1.demo", "e-e.x.demo").map(host),
      fc.integer({ min: 12, max: 50 }),
    ),
  )
  .map(
    (pairs): ReadonlyMap<Hostname, Ip> =>
      new Map(pairs.map(([name, n]) => [name, ipFromNumber(0x7f000000 + n)])),
  );
const latin1 = fc
  .array(fc.integer({ min: 0, max: 255 }), { maxLength: 12 })
  .map((codes) => String.fromCharCode(...codes));
const foreignLine = fc.oneof(
  latin1.map((text) => text.replaceAll("\n", "")),
  fc.constantFrom(
    "",
    "127.0.0.1 localhost",
    "127.0.1.1\tmymachine",
    "::1 ip6-localhost",
    "# mine",
    "10.1.2.3 b.demo",
    "\xc3\xa9",
    "\r",
    " ",
  ),
  fc.constantFrom(
    ` ${beginLine}`,
    `${endLine}x`,
    "192.168.0.1\tnas",
    "127.0.0.5 a",
    "127.0.0.7\tx y",
    "127.0.0.2\tlocalhost",
  ),
);
const eol = fc.constantFrom("\n", "\n", "\r\n");
const linesOf = (line: fc.Arbitrary<string>) =>
  fc
    .record({
      bom: fc.constantFrom("", "", "\xef\xbb\xbf"),
      lines: fc.array(fc.tuple(line, eol), { maxLength: 14 }),
      tail: fc.option(line, { nil: "" }),
    })
    .map(({ bom, lines, tail }) => bom + lines.flat().join("") + tail)
    .filter((text) => !/^(?:\xff\xfe|\xfe\xff)/.test(text));
const foreignText = linesOf(foreignLine);
/**
 * All damage that a file can have: markers anywhere, entries anywhere, and
 * foreign lines between them.
 */
const brokenText = linesOf(
  fc.oneof(
    foreignLine,
    fc.constantFrom(
      beginLine,
      endLine,
      `${beginLine} `,
      `${endLine}\t`,
      "# (before this section, the line above had no line end)",
    ),
    fc
      .tuple(fc.integer({ min: 1, max: 9 }), fc.constantFrom("a", "b.demo", "c.demo", "z"))
      .map(([n, name]) => `127.0.0.${n}\t${name}`),
  ),
);

/**
 * The lines that no edit may lose: all but markers, our note, and lines in the
 * format of our entries.
 */
function foreignLines(text: string): string[] {
  const lines = text.replace(/^\xef\xbb\xbf/, "").split(/(?<=\n)/);
  const ours =
    /^(?:# (?:BEGIN|END) ngrokd managed section[ \t\r]*|# \(before this section, [^\n]*|127\.0\.0\.(?!1[\t ])\d+[\t ](?!localhost)[a-z0-9._-]+\r?)\n?$/;
  return lines.filter((line) => line !== "" && !ours.test(line));
}

/** The entries that no other line of a text pins. */
const servedOf = (text: string, entries: ReadonlyMap<Hostname, Ip>) => {
  const edit = editHosts(text, entries);
  const shadowed = new Set(edit.kind === "refused" ? [] : edit.shadowed);
  return [...entries].filter(([name]) => !shadowed.has(name));
};

describe("editHosts, for any text", () => {
  test("gives the text back byte for byte when the section is taken out again", () => {
    fc.assert(
      fc.property(
        foreignText,
        fc.array(arbitraryEntries, { minLength: 1, maxLength: 3 }),
        (text, steps) => {
          const last = steps.reduce((current, entries) => edited(current, entries).text, text);
          expect(edited(last, none).text).toBe(text);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("adds one section and nothing else to a text without one", () => {
    fc.assert(
      fc.property(foreignText, arbitraryEntries, (text, entries) => {
        const after = edited(text, entries).text;
        const served = servedOf(text, entries);
        if (served.length === 0) return expect(after).toBe(text);
        expect(after).toStartWith(text);
        const [, inside] =
          /^(?:\r?\n)?# BEGIN ngrokd managed section\r?\n(?:# \(before [^\n]*\n)?((?:[\d.]+\t[^\n]*\n)*)# END ngrokd managed section\r?\n$/.exec(
            after.slice(text.length),
          ) ?? [];
        const written = (inside ?? "").trimEnd().split(/\r?\n/);
        expect(written).toEqual(
          served
            .map(([name, address]) => `${address}\t${name}`)
            .sort((a, b) => (a.slice(a.indexOf("\t")) < b.slice(b.indexOf("\t")) ? -1 : 1)),
        );
      }),
      { numRuns: 1000 },
    );
  });

  test("is a fixed point, and then has nothing left to repair", () => {
    fc.assert(
      fc.property(brokenText, arbitraryEntries, (text, entries) => {
        expect(editHosts(edited(text, entries).text, entries).kind).toBe("same");
      }),
      { numRuns: 2000 },
    );
  });

  test("loses no foreign line and changes no order, however broken the section is", () => {
    fc.assert(
      fc.property(brokenText, arbitraryEntries, (text, entries) => {
        const kept = foreignLines(text);
        const after = foreignLines(edited(text, entries).text);
        expect(after.slice(0, -1)).toEqual(kept.slice(0, -1));
        // An edit may give the last line a line end, or remove one that the
        // section's note says was ours.
        const lastOf = (lines: string[]) => lines.at(-1)?.replace(/\r*\n?$/, "");
        expect(lastOf(after)).toBe(lastOf(kept));
        expect(after).toHaveLength(kept.length);
      }),
      { numRuns: 2000 },
    );
  });

  test("leaves one section in a broken file, none without entries, and lists repairs", () => {
    const count = (text: string, marker: string) =>
      text
        .replace(/^\xef\xbb\xbf/, "")
        .split(/\r?\n/)
        .filter((line) => line.startsWith(marker) && line.slice(marker.length).trim() === "")
        .length;
    fc.assert(
      fc.property(brokenText, arbitraryEntries, (text, entries) => {
        const after = edited(text, entries);
        const wanted = servedOf(text, entries).length === 0 ? 0 : 1;
        expect({ begins: count(after.text, beginLine), ends: count(after.text, endLine) }).toEqual({
          begins: wanted,
          ends: wanted,
        });
        const sound =
          count(text, beginLine) === count(text, endLine) && count(text, beginLine) <= 1;
        if (!sound) expect(after.repairs).not.toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("pinsIn", () => {
  const names = new Set(["a.demo", "b.demo", "c.demo", "d.demo"].map(host));
  const text = [
    "127.0.0.1 localhost a.demo",
    "10.5.5.5\tB.Demo.  b # pinned",
    "# 10.5.5.6 c.demo",
    beginLine,
    "127.0.0.9\tc.demo",
    endLine,
    "FE80::1 a.demo\r",
    "  127.0.0.7   D.demo",
  ].join("\n");

  test("finds names outside our section, with the addresses of their lines", () => {
    expect(pinsIn(text, names, none)).toEqual(
      new Map([
        [host("a.demo"), ["127.0.0.1", "FE80::1"]],
        [host("b.demo"), ["10.5.5.5"]],
        [host("d.demo"), ["127.0.0.7"]],
      ]),
    );
  });

  test("takes a line that we wrote for no pin, whatever its spacing", () => {
    const written = mapping({ "d.demo": "127.0.0.7", "b.demo": "127.0.0.8" });
    expect([...pinsIn(text, names, written).keys()]).toEqual([host("a.demo"), host("b.demo")]);
  });
});

describe("editHosts, after another tool has touched the form of our lines", () => {
  const foreign = "127.0.0.1 localhost\n10.1.1.1 theirs\n";
  const forms: readonly (readonly [string, (section: string) => string])[] = [
    ["spaces instead of tabs", (text) => text.replaceAll("\t", "   ")],
    ["comment lines deleted", (text) => text.replaceAll(/^#.*\n/gm, "")],
    [
      "spaces, and no comment lines",
      (text) => text.replaceAll("\t", "  ").replaceAll(/^#.*\n/gm, ""),
    ],
    ["indented", (text) => text.replaceAll(/^(?=\d)/gm, " \t")],
    ["white space at the line ends", (text) => text.replaceAll("\n", "  \n")],
    [
      "upper case and final dots",
      (text) => text.replaceAll(/[a-z]\.demo/g, (it) => `${it.toUpperCase()}.`),
    ],
    ["a comment on each line", (text) => text.replaceAll(/(\.demo)\n/g, "$1 # managed\n")],
    ["sorted as a whole", (text) => `${text.split("\n").sort().join("\n").trimStart()}\n`],
    [
      "only the begin deleted, and spaces",
      (text) => text.replace(`${beginLine}\n`, "").replaceAll("\t", " "),
    ],
    [
      "only the end deleted, and spaces",
      (text) => text.replace(`${endLine}\n`, "").replaceAll("\t", " "),
    ],
  ];
  test.each(forms)("%s: they stay ours, and go", (_, touch) => {
    const text = foreign + touch(sectionOfTwo);
    const put = editHosts(text, two, undefined, two);
    expect(put.kind === "changed" ? put.text : text).toBe(foreign + sectionOfTwo);
    const taken = editHosts(text, none, undefined, two);
    expect(taken).toMatchObject({ kind: "changed", text: foreign });
    expect(taken.kind === "changed" && taken.repairs.join()).not.toContain("did not write");
  });

  test("a line of the user's with another address or another name beside it stays", () => {
    const theirs = "10.0.0.9 a.demo\n127.0.0.2 b.demo theirs.demo\n127.0.0.4 c.demo\n";
    expect(editHosts(theirs, none, undefined, two).kind).toBe("same");
  });

  test("lines of the Go program that ours would not write go with its section", () => {
    const go = "10.107.0.2 *.wild.demo\n10.107.0.3\tUpper.Demo\n10.107.0.4    spaced.demo\n";
    expect(edited(`${foreign}${beginLine}\n${go}${endLine}\n`, none)).toEqual({
      text: foreign,
      repairs: [],
    });
  });
});

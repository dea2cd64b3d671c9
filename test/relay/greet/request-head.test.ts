import { expect, test } from "bun:test";
import fc from "fast-check";
import { readHead } from "../../../src/relay/greet/request-head.ts";

/** The same rules, for one line after the other. */
function byLines(lines: readonly string[]) {
  const found = { hosts: [] as string[], lengths: [] as string[], upgrades: 0 };
  for (const line of lines) {
    const [, name, value] =
      /^([!#$%&'*+\-.^_`|~\w]+):([^\x00-\x08\x0a-\x1f\x7f]*)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) return "invalid";
    const text = value.replace(/^[ \t]+|[ \t]+$/g, "");
    if (name.toLowerCase() === "host") found.hosts.push(text);
    if (name.toLowerCase() === "content-length") found.lengths.push(text);
    if (name.toLowerCase() === "upgrade") found.upgrades += 1;
  }
  return found;
}

const name = fc.constantFrom("Host", "HOST", "Content-Length", "Upgrade", "X-Host", "Hos", "", "x");
const value = fc.constantFrom("a.demo", " a.demo\t", "7", "7 ", "", "\tHost:b", "\xe9", "a\nb");
const mark = fc.constantFrom(":", ": ", " :", "", "\r:", "\n:");
const line = fc.tuple(name, mark, value).map((parts) => parts.join(""));

test("the fields of a head are those of its lines, one after the other", () => {
  let [read, refused] = [0, 0];
  fc.assert(
    fc.property(fc.array(line, { maxLength: 4 }), (lines) => {
      const text = ["GET / HTTP/1.1", ...lines].join("\r\n");
      if (text.includes("\r\n\r\n") || lines.some((one) => one === "")) return;
      const head = readHead(Buffer.from(`${text}\r\n\r\n`, "latin1"));
      const wanted = byLines(lines);
      const isValid = wanted !== "invalid" && wanted.hosts.length < 2;
      if (!isValid || new Set(wanted.lengths).size > 1) {
        refused += 1;
        expect(head.kind).toBe("bad");
        return;
      }
      const length = wanted.lengths[0] ?? "0";
      if (!/^\d+$/.test(length)) {
        expect(head.kind).toBe("bad");
        return;
      }
      read += 1;
      expect(head).toMatchObject({
        kind: "head",
        authority: wanted.hosts[0],
        framing: { kind: "length", n: Number(length) },
        switches: wanted.upgrades > 0 ? "upgrade" : undefined,
      });
    }),
    { numRuns: 5000 },
  );
  expect(read).toBeGreaterThan(100);
  expect(refused).toBeGreaterThan(100);
});

import { afterEach, describe, expect, test } from "bun:test";
import packet from "dns-packet";
import { answerIn, askServers } from "../../src/names/question.ts";
import { nameServer, type Records } from "./support.ts";

const endings: (() => void)[] = [];
afterEach(() => {
  for (const end of endings.splice(0)) end();
});

async function server(records: Readonly<Record<string, Records>>) {
  const one = await nameServer(records);
  endings.push(one.close);
  return one;
}

/** A question is sent again if the process stood still meanwhile. */
const withoutRepeats = (asked: readonly string[]): string[] =>
  asked.filter((question, i) => question !== asked[i - 1]);

describe("askServers", () => {
  test("returns the addresses, or that there is none, or no such name", async () => {
    const { at, asked } = await server({
      "a.demo": ["192.0.2.1", "192.0.2.2"],
      "six.demo": ["2001:db8::1"],
      "mail.demo": [],
    });
    expect(await askServers("a.demo", [at])).toEqual({
      kind: "addresses",
      addresses: ["192.0.2.1", "192.0.2.2"],
    });
    expect(await askServers("six.demo", [at])).toEqual({
      kind: "addresses",
      addresses: ["2001:db8::1"],
    });
    expect(await askServers("mail.demo", [at])).toEqual({ kind: "empty" });
    expect(await askServers("b.demo", [at])).toEqual({ kind: "none" });
    expect(withoutRepeats(asked)).toEqual([
      "a.demo A",
      "six.demo A",
      "six.demo AAAA",
      "mail.demo A",
      "mail.demo AAAA",
      "b.demo A",
    ]);
  });

  test("asks the next server if one is silent, fails, or does not listen", async () => {
    const [silent, failing, wise] = [
      await server({ "a.demo": "silent" }),
      await server({ "a.demo": "servfail" }),
      await server({ "a.demo": ["192.0.2.1"] }),
    ];
    const closed = await nameServer({});
    closed.close();
    const servers = [closed.at, silent.at, failing.at, wise.at];
    expect(await askServers("a.demo", servers)).toEqual({
      kind: "addresses",
      addresses: ["192.0.2.1"],
    });
    expect(silent.asked).toEqual(["a.demo A", "a.demo A"]);
    expect(await askServers("a.demo", [closed.at])).toEqual({ kind: "silent" });
    expect(await askServers("a.demo", [])).toEqual({ kind: "silent" });
    expect(await askServers("a.demo", ["no address"])).toEqual({ kind: "silent" });
  });
});

describe("answerIn", () => {
  const question = packet.encode({
    type: "query",
    id: 7,
    questions: [{ type: "A", name: "a.demo" }],
  });
  const reply = (more: object): Uint8Array =>
    packet.encode({ type: "response", id: 7, questions: [{ type: "A", name: "a.demo" }], ...more });

  test("does not count a reply to another question", () => {
    expect(answerIn(reply({ id: 8 }), question, "A")).toBeUndefined();
    expect(answerIn(reply({ type: "query" }), question, "A")).toBeUndefined();
    const other = [{ type: "A", name: "b.demo" }];
    expect(answerIn(reply({ questions: other }), question, "A")).toBeUndefined();
    expect(answerIn(reply({}), question, "A")).toEqual({ kind: "empty" });
  });

  test("counts a reply that was cut as one with addresses", () => {
    expect(answerIn(reply({ flags: packet.TRUNCATED_RESPONSE }), question, "A")).toEqual({
      kind: "addresses",
      addresses: [],
    });
  });

  test("never throws, whatever the bytes are", () => {
    const whole = reply({ answers: [{ type: "A", name: "a.demo", data: "192.0.2.1" }] });
    let random = 1;
    for (let n = 0; n < 20_000; n += 1) {
      const bytes = Uint8Array.from(whole.subarray(0, n % (whole.length + 1)));
      for (let i = 0; i < 3 && bytes.length > 0; i += 1) {
        random = (random * 48_271) % 0x7fffffff;
        bytes[random % bytes.length] = random & 0xff;
      }
      const answer = answerIn(bytes, question, "A");
      expect(["object", "undefined"]).toContain(typeof answer);
    }
  });
});

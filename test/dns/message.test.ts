import { describe, expect, test } from "bun:test";
import type packet from "dns-packet";
import { answer, empty } from "../../src/dns/answer.ts";
import { type Query, rcodes, readQuery, writeReply } from "../../src/dns/message.ts";
import { dataOf, decode, ownersOf, question, rcodeOf, zonesWith } from "./support.ts";

function queryOf(bytes: Uint8Array): Query {
  const reading = readQuery(bytes);
  if (reading.kind !== "query") throw new Error(`it is ${reading.kind}`);
  return reading.query;
}

function replyTo(bytes: Uint8Array, room = 512): Uint8Array {
  const query = queryOf(bytes);
  const found = answer(query, zonesWith());
  if (found.kind !== "reply") throw new Error(`it is ${found.kind}`);
  return writeReply(query, found, { room, recursion: false });
}

describe("readQuery", () => {
  test("has no answer for an answer, or for bytes too few for a header", () => {
    expect(readQuery(question("a.demo", "A", { type: "response" })).kind).toBe("none");
    expect(readQuery(new Uint8Array(11)).kind).toBe("none");
  });

  test.each([
    [
      "two questions",
      question("a.demo", "A", {
        questions: [
          { name: "a.demo", type: "A" },
          { name: "b.demo", type: "A" },
        ],
      }),
      "FORMERR",
    ],
    ["no question", question("a.demo", "A", { questions: [] }), "FORMERR"],
    ["a name that ends too early", question("a.demo").subarray(0, 15), "FORMERR"],
    ["a zone transfer's notice", question("a.demo", "A", { flags: 4 << 11 }), "NOTIMP"],
  ] as const)("says what is wrong with %s", (_, bytes, code) => {
    const reading = readQuery(bytes);
    if (reading.kind !== "bad") throw new Error(`it is ${reading.kind}`);
    expect(rcodeOf(reading.reply)).toBe(code);
    expect(decode(reading.reply).id).toBe(4711);
  });

  test("knows the room for a datagram: 512, or EDNS's number up to 1232", () => {
    const room = (size: number): number =>
      queryOf(
        question("a.demo", "A", {
          additionals: [
            {
              type: "OPT",
              name: ".",
              udpPayloadSize: size,
              flags: 0,
              options: [],
              extendedRcode: 0,
              ednsVersion: 0,
              flag_do: false,
            },
          ],
        }),
      ).room;
    expect({
      none: queryOf(question("a.demo")).room,
      small: room(100),
      own: room(800),
      big: room(4096),
    }).toEqual({ none: 512, small: 512, own: 800, big: 1232 });
  });

  test("survives 100,000 damaged packets, and its replies can be read", () => {
    const seed = question("known.team.internal", "A", {
      additionals: [
        {
          type: "OPT",
          name: ".",
          udpPayloadSize: 1232,
          flags: 0,
          options: [],
          extendedRcode: 0,
          ednsVersion: 0,
          flag_do: false,
        },
      ],
    });
    const seen = { query: 0, bad: 0, none: 0 };
    let state = 1;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % below;
    };
    for (let n = 0; n < 100_000; n += 1) {
      const bytes = Uint8Array.from(seed).subarray(0, 1 + random(seed.length));
      for (let k = random(6); k > 0; k -= 1) bytes[random(bytes.length)] = random(256);
      const reading = readQuery(bytes);
      seen[reading.kind] += 1;
      if (reading.kind === "bad") decode(reading.reply);
      if (reading.kind !== "query") continue;
      const found = answer(reading.query, zonesWith());
      const reply = found.kind === "reply" ? found : empty(rcodes.REFUSED);
      const written = writeReply(reading.query, reply, { room: 512, recursion: false });
      decode(written);
      expect(written.subarray(12, 12 + reading.query.question.length)).toEqual(
        reading.query.question,
      );
    }
    expect(seen.query + seen.bad + seen.none).toBe(100_000);
    expect(Math.min(seen.query, seen.bad, seen.none)).toBeGreaterThan(100);
  });
});

describe("writeReply", () => {
  test("keeps number, case and recursion desired, and says that we know it ourselves", () => {
    const reply = replyTo(question("API.corp.Internal"));
    const { id, flag_aa, flag_rd, flag_ra } = decode(reply);
    expect({ id, flag_aa, flag_rd, flag_ra }).toEqual({
      id: 4711,
      flag_aa: true,
      flag_rd: true,
      flag_ra: false,
    });
    expect(ownersOf(reply)).toEqual(["API.corp.Internal"]);
    expect(dataOf(reply)).toEqual(["10.107.0.2"]);
    expect(decode(reply).answers?.[0]).toMatchObject({ ttl: 5, class: "IN" });
  });

  test("names the zone of a missing record, as a part of the question", () => {
    const reply = replyTo(question("-x.Team.internal"));
    expect(rcodeOf(reply)).toBe("NXDOMAIN");
    expect(decode(reply).authorities).toMatchObject([
      { name: "Team.internal", type: "SOA", ttl: 5, data: { mname: "team.internal", minimum: 5 } },
    ]);
  });

  test("answers EDNS with EDNS, and others without", () => {
    const opt: packet.OptAnswer = {
      type: "OPT",
      name: ".",
      udpPayloadSize: 4096,
      flags: 0,
      options: [],
      extendedRcode: 0,
      ednsVersion: 0,
      flag_do: false,
    };
    const reply = decode(replyTo(question("api.corp.internal", "A", { additionals: [opt] })));
    expect(reply.additionals).toMatchObject([
      { type: "OPT", udpPayloadSize: 1232, ednsVersion: 0 },
    ]);
    expect(decode(replyTo(question("api.corp.internal"))).additionals).toEqual([]);
  });

  test("cuts a reply that has no room, and marks it", () => {
    const reply = decode(replyTo(question("api.corp.internal"), 40));
    expect({ cut: reply.flag_tc, answers: reply.answers }).toEqual({ cut: true, answers: [] });
  });
});

import { describe, expect, test } from "bun:test";
import { answer, type Zones } from "../../src/dns/answer.ts";
import { types } from "../../src/dns/message.ts";
import { zonesWith } from "./support.ts";

const asked = (
  name: string,
  type: keyof typeof types | number = "A",
  zones: Zones = zonesWith(),
): string => {
  const number = typeof type === "number" ? type : types[type];
  const found = answer({ name, type: number, klass: 1 }, zones);
  if (found.kind === "outside") return "outside";
  if (found.kind === "fresh") return `fresh ${found.host} in ${found.zone}`;
  const { rcode, answers, authorities } = found;
  const records = answers.map((one) => `${one.type} ${one.data}`);
  const soa = authorities.map(({ owner }) => `SOA of ${owner}`);
  return [`code ${rcode}`, ...records, ...soa].join(", ");
};

describe("answer", () => {
  test.each([
    ["a name's address", "api.corp.internal", "A", "code 0, A 10.107.0.2"],
    ["upper and lower case alike", "API.Corp.INTERNAL", "A", "code 0, A 10.107.0.2"],
    [
      "no silence for AAAA of a name with A only",
      "api.corp.internal",
      "AAAA",
      "code 0, SOA of api.corp.internal",
    ],
    ["both families", "known.team.internal", "AAAA", "code 0, AAAA fd00::3"],
    ["all records", "known.team.internal", "ANY", "code 0, A 10.107.0.3, AAAA fd00::3"],
    ["no record of another type", "known.team.internal", 16, "code 0, SOA of team.internal"],
    ["a fresh name", "new.team.internal", "A", "fresh new.team.internal in team.internal"],
    [
      "a fresh name further below",
      "a.b.Team.internal",
      "A",
      "fresh a.b.team.internal in team.internal",
    ],
    [
      "the longest zone",
      "x.deep.team.internal",
      "A",
      "fresh x.deep.team.internal in deep.team.internal",
    ],
    [
      "no address for a question of another type",
      "new.team.internal",
      65,
      "code 0, SOA of team.internal",
    ],
    [
      "no address for AAAA without IPv6",
      "new.team.internal",
      "AAAA",
      "code 0, SOA of team.internal",
    ],
    ["the zone itself", "team.internal", "A", "code 0, SOA of team.internal"],
    ["the zone's SOA", "team.internal", "SOA", "code 0, SOA team.internal"],
    ["no name that is no host name", "-x.team.internal", "A", "code 3, SOA of team.internal"],
    ["nothing below an exact name", "www.api.corp.internal", "A", "outside"],
    ["nothing beside a zone", "xteam.internal", "A", "outside"],
    ["nothing of others", "example.com", "A", "outside"],
    ["not the root", "", "A", "outside"],
    ["no transfer of a zone", "team.internal", "AXFR", "code 5"],
    ["an address's name", "2.0.107.10.in-addr.arpa", "PTR", "code 0, PTR api.corp.internal"],
    [
      "no name for a free address",
      "9.0.107.10.in-addr.arpa",
      "PTR",
      "code 3, SOA of 107.10.in-addr.arpa",
    ],
    ["the reverse zone", "107.10.in-addr.arpa", "PTR", "code 0, SOA of 107.10.in-addr.arpa"],
    ["no address of others", "1.0.108.10.in-addr.arpa", "PTR", "outside"],
    ["no larger reverse zone", "10.in-addr.arpa", "PTR", "outside"],
    ["no address that is none", "300.0.107.10.in-addr.arpa", "PTR", "outside"],
  ] as const)("has %s", (_, name, type, expected) => {
    expect(asked(name, type)).toBe(expected);
  });

  test("gives a fresh name an address for AAAA if names have IPv6", () => {
    const found = asked("new.team.internal", "AAAA", zonesWith({ ipv6: true }));
    expect(found).toBe("fresh new.team.internal in team.internal");
  });

  test("leaves classes other than IN to others", () => {
    const found = answer({ name: "api.corp.internal", type: 16, klass: 3 }, zonesWith());
    expect(found.kind).toBe("outside");
  });
});

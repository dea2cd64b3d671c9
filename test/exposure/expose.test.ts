import { describe, expect, test } from "bun:test";
import { type ExposureInput, expose, type NamesBelow } from "../../src/exposure/expose.ts";
import type { Exposure } from "../../src/exposure/exposure.ts";
import type { Verdict } from "../../src/exposure/verdict.ts";
import { endpoint } from "../daemon/support.ts";
import { host, ip, mapping, subnet } from "../machine/support.ts";

const on = (text: string) => ({ kind: "loopback", range: subnet(text) }) as const;
const http = endpoint("ep_1", "http://a.demo");
const https = endpoint("ep_2", "https://a.demo");
const other = endpoint("ep_3", "tcp://b.demo:5432");
const anyTeam = endpoint("ep_9", "https://*.team.demo");

describe("expose, by the word of the user", () => {
  const forbidden = (name: string) => (name === "localhost" ? "it is ours" : undefined);
  const judge = (subject: string): Verdict =>
    subject === "a.demo" || subject === "*.team.demo"
      ? { kind: "refused", reason: "no" }
      : subject === "b.demo"
        ? { kind: "paused", reason: "later" }
        : { kind: "served" };

  test("leaves out refused and paused names, with name, port and reason", () => {
    const below = namesBelow({ asked: ["x.team.demo"] });
    const policy = { forbidden, judge };
    const { exposure, unserved, wildcards } = expose(
      input([http, other, anyTeam], { policy, below }),
    );
    expect(exposure).toMatchObject({ doors: [], names: [], asked: [], zones: [] });
    expect(wildcards).toEqual([]);
    expect(unserved).toEqual([
      {
        kind: "refused",
        account: "default",
        ids: ["ep_1"],
        url: "http://a.demo",
        proto: "http",
        host: host("a.demo"),
        port: 80,
        reason: "no",
      },
      {
        kind: "paused",
        account: "default",
        ids: ["ep_3"],
        url: "tcp://b.demo:5432",
        proto: "tcp",
        host: host("b.demo"),
        port: 5432,
        reason: "later",
      },
      {
        kind: "refused",
        account: "default",
        ids: ["ep_9"],
        url: "https://*.team.demo",
        proto: "https",
        host: "",
        port: 443,
        reason: "no",
      },
    ]);
  });

  test("judges a name by the account that lists it", () => {
    const judge = (_: string, account?: string): Verdict =>
      account === "work" ? { kind: "refused", reason: "not at work" } : { kind: "served" };
    const accounts = [
      { account: "work", listed: [http, anyTeam] },
      { account: "home", listed: [http, anyTeam] },
    ];
    const below = namesBelow({ asked: ["x.team.demo"] });
    const { exposure, unserved } = expose({
      ...input([]),
      accounts,
      policy: { forbidden, judge },
      below,
    });
    expect(new Set(exposure.routes.map(({ target }) => target.account))).toEqual(new Set(["home"]));
    expect(unserved.map((one) => [one.kind, "account" in one && one.account])).toEqual([
      ["refused", "work"],
      ["refused", "work"],
    ]);
  });

  test("judges names below a wildcard too", () => {
    const below = namesBelow({ asked: ["x.team.demo", "y.team.demo"] });
    const noX = (subject: string): Verdict =>
      subject === "x.team.demo" ? { kind: "refused", reason: "no" } : { kind: "served" };
    const { exposure } = expose(input([anyTeam], { policy: { forbidden, judge: noX }, below }));
    expect(hostsOf(exposure)).toEqual(["y.team.demo:443"]);
  });

  test("gives aliases the address of their host, and no door", () => {
    const aliases = new Map([
      [host("db"), host("b.demo")],
      [host("localhost"), host("b.demo")],
      [host("x"), host("gone.demo")],
    ]);
    const { exposure, remarks, assignment } = expose(
      input([other], { policy: { forbidden, aliases } }),
    );
    expect(namesOf(exposure)).toEqual({ "b.demo": "127.0.0.2", db: "127.0.0.2" });
    expect(Object.keys(doorsOf(exposure))).toEqual(["127.0.0.2:5432"]);
    expect([...assignment.keys()]).toEqual([host("b.demo")]);
    expect([...remarks]).toEqual([
      [host("b.demo"), 'its alias "localhost" is left out: it is ours'],
    ]);
  });

  test("remarks on every alias that is left out", () => {
    const aliases = new Map([
      [host("localhost"), host("b.demo")],
      [host("odd"), host("b.demo")],
    ]);
    const judge = (subject: string): Verdict =>
      subject === "odd" ? { kind: "refused", reason: "no" } : { kind: "served" };
    const { remarks } = expose(input([other], { policy: { forbidden, aliases, judge } }));
    expect(remarks.get(host("b.demo"))).toBe(
      'its alias "localhost" is left out: it is ours; its alias "odd" is left out: no',
    );
  });

  test("keeps the name of an alias from an endpoint", () => {
    const aliases = new Map([[host("a.demo"), host("b.demo")]]);
    const { exposure, unserved } = expose(input([http, other], { policy: { forbidden, aliases } }));
    expect(namesOf(exposure)).toEqual({ "a.demo": "127.0.0.2", "b.demo": "127.0.0.2" });
    expect(unserved).toMatchObject([
      { kind: "refused", url: "http://a.demo", reason: 'names.alias gives its name to "b.demo"' },
    ]);
  });
});

describe("expose", () => {
  test("gives each name an address, and each binding a door with one route", () => {
    const { exposure, assignment, unserved } = expose(input([https, other, http]));
    expect(doorsOf(exposure)).toEqual({
      "127.0.0.2:443": "default https://a.demo",
      "127.0.0.2:80": "default http://a.demo",
      "127.0.0.3:5432": "default tcp://b.demo:5432",
    });
    expect(exposure.addresses).toEqual([ip("127.0.0.2"), ip("127.0.0.3")]);
    expect(namesOf(exposure)).toEqual({ "a.demo": "127.0.0.2", "b.demo": "127.0.0.3" });
    expect(assignment).toEqual(mapping({ "a.demo": "127.0.0.2", "b.demo": "127.0.0.3" }));
    expect(unserved).toEqual([]);
  });

  test("returns equal data for endpoints in any order", () => {
    expect(expose(input([https, other, http]))).toEqual(expose(input([other, http, https])));
  });

  test("keeps saved addresses, also those of names that are absent", () => {
    const saved = mapping({ "gone.demo": "127.0.0.2", "a.demo": "127.0.0.9" });
    const { exposure, assignment } = expose(input([http], { assignment: saved }));
    expect(namesOf(exposure)).toEqual({ "a.demo": "127.0.0.9" });
    expect(assignment).toEqual(saved);
  });

  test("gives no new name an address on which another program listens", () => {
    const machine = { ground: on("127.0.0.0/8"), taken: new Set([ip("127.0.0.2")]) };
    expect(namesOf(expose(input([http], { machine })).exposure)).toEqual({ "a.demo": "127.0.0.3" });
  });

  test("leaves out endpoints on reserved ports, with the reason", () => {
    const policy = { forbidden: () => undefined, reservedPorts: [5432] };
    const { exposure, unserved } = expose(input([http, other], { policy }));
    expect(Object.keys(doorsOf(exposure))).toEqual(["127.0.0.2:80"]);
    expect(unserved).toMatchObject([
      { kind: "unsupported", id: "ep_3", reason: expect.stringContaining("reserved_ports") },
    ]);
  });

  test("leaves out forbidden and unusable endpoints, with the reason", () => {
    const policy = {
      forbidden: (host: string) => (host === "b.demo" ? "it is ours" : undefined),
    };
    const bad = endpoint("ep_4", "udp://c.demo:1");
    const { exposure, unserved } = expose(input([http, other, bad], { policy }));
    expect(Object.keys(doorsOf(exposure))).toEqual(["127.0.0.2:80"]);
    expect(unserved).toMatchObject([
      { kind: "unsupported", id: "ep_4", url: "udp://c.demo:1" },
      { kind: "unsupported", id: "ep_3", url: "tcp://b.demo:5432", reason: "it is ours" },
    ]);
  });

  test("has no names below a wildcard unless they are asked for or listed", () => {
    const { exposure, unserved, wildcards } = expose(input([anyTeam, http]));
    expect(namesOf(exposure)).toEqual({ "a.demo": "127.0.0.2" });
    expect({ zones: exposure.zones, asked: exposure.asked, wildcards }).toEqual({
      zones: [],
      asked: [],
      wildcards: [],
    });
    expect(unserved).toMatchObject([{ id: "ep_9", url: "https://*.team.demo" }]);
  });

  test("gives a name below a wildcard an address of its own, and the hosts file none", () => {
    const below = namesBelow({ asked: ["x.team.demo", "y.other.demo", "team.demo"] });
    const { exposure, unserved } = expose(input([anyTeam, http], { below }));
    expect(doorsOf(exposure)).toEqual({
      "127.0.0.2:80": "default http://a.demo",
      "127.0.0.3:443": "default https://*.team.demo",
    });
    expect(hostsOf(exposure)).toEqual(["a.demo:80", "x.team.demo:443"]);
    expect(namesOf(exposure)).toEqual({ "a.demo": "127.0.0.2" });
    expect(exposure.asked).toEqual([{ host: host("x.team.demo"), ip: ip("127.0.0.3") }]);
    expect(exposure.zones).toEqual([host("team.demo")]);
    expect(unserved).toEqual([]);
  });

  test("puts listed names below a wildcard into the hosts file, also without DNS", () => {
    const below = namesBelow({ onDemand: false, asked: [], expanded: ["x.team.demo"] });
    const { exposure, unserved } = expose(input([anyTeam], { below }));
    expect(namesOf(exposure)).toEqual({ "x.team.demo": "127.0.0.2" });
    expect({ asked: exposure.asked, zones: exposure.zones, unserved }).toEqual({
      asked: [],
      zones: [],
      unserved: [],
    });
  });

  test("lets an exact name win, and at each port the longest wildcard", () => {
    const below = namesBelow({ asked: ["x.deep.team.demo", "exact.team.demo"] });
    const listed = [
      anyTeam,
      endpoint("ep_8", "http://*.team.demo"),
      endpoint("ep_7", "https://*.deep.team.demo"),
      endpoint("ep_6", "tcp://exact.team.demo:1"),
    ];
    expect(doorsOf(expose(input(listed, { below })).exposure)).toEqual({
      "127.0.0.2:1": "default tcp://exact.team.demo:1",
      "127.0.0.3:443": "default https://*.deep.team.demo",
      "127.0.0.3:80": "default http://*.team.demo",
    });
  });

  test("serves a wildcard for the first account, and no forbidden zone or name", () => {
    const policy = {
      forbidden: (name: string) => (name === "no.team.demo" ? "it is ours" : undefined),
      forbiddenZone: (zone: string) => (zone === "bad.demo" ? "it is a zone of ours" : undefined),
    };
    const below = namesBelow({ asked: ["no.team.demo", "x.team.demo", "x.bad.demo"] });
    const accounts = [
      { account: "work", listed: [anyTeam, endpoint("ep_8", "https://*.bad.demo")] },
      { account: "home", listed: [endpoint("ep_7", "http://*.team.demo")] },
    ];
    const { exposure, unserved } = expose({ ...input([], { policy, below }), accounts });
    expect(doorsOf(exposure)).toEqual({ "127.0.0.2:443": "work https://*.team.demo" });
    expect(unserved).toMatchObject([
      { id: "ep_8", reason: "it is a zone of ours" },
      { id: "ep_7", reason: "the profile work comes first, and has this name" },
    ]);
  });

  test("leaves out a name for which no address is left", () => {
    const machine = { ground: on("127.0.0.2/32"), taken: new Set<never>() };
    const { exposure, unserved } = expose(input([http, other], { machine }));
    expect(namesOf(exposure)).toEqual({ "a.demo": "127.0.0.2" });
    expect(unserved).toMatchObject([{ kind: "homeless", binding: { url: other.url } }]);
  });

  test("serves several accounts side by side, and a name for the first of them", () => {
    const accounts = [
      { account: "work", listed: [http] },
      { account: "home", listed: [https, other] },
    ];
    const { exposure, unserved } = expose({ ...input([]), accounts });
    expect(doorsOf(exposure)).toEqual({
      "127.0.0.2:80": "work http://a.demo",
      "127.0.0.3:5432": "home tcp://b.demo:5432",
    });
    expect(unserved).toEqual([
      {
        kind: "unsupported",
        account: "home",
        id: "ep_2",
        url: "https://a.demo",
        reason: "the profile work comes first, and serves this name",
      },
    ]);
  });

  test("is plain data that survives being sent to another process", () => {
    const { exposure } = expose(input([http, https, other]));
    expect(JSON.parse(JSON.stringify(exposure))).toEqual(exposure);
  });
});

const input = (
  listed: readonly ReturnType<typeof endpoint>[],
  changes: Partial<ExposureInput> = {},
): ExposureInput => ({
  accounts: [{ account: "default", listed }],
  assignment: new Map(),
  policy: { forbidden: () => undefined },
  machine: { ground: on("127.0.0.0/8"), taken: new Set() },
  ...changes,
});

const doorsOf = ({ doors, routes }: Exposure): Record<string, string> =>
  Object.fromEntries(
    doors.map(({ id }) => [
      id,
      routes
        .filter(({ door }) => door === id)
        .map(({ target }) => `${target.account} ${target.binding.url}`)
        .join(", "),
    ]),
  );

const namesOf = ({ names }: Exposure): Record<string, string> =>
  Object.fromEntries(names.map(({ host, ip }) => [host, ip]));

const hostsOf = ({ routes }: Exposure): string[] =>
  routes.map(({ target }) => `${target.binding.host}:${target.binding.port}`);

const namesBelow = ({
  onDemand = true,
  asked,
  expanded = [],
}: {
  onDemand?: boolean;
  asked: readonly string[];
  expanded?: readonly string[];
}): NamesBelow => ({
  onDemand,
  asked: new Set(asked.map(host)),
  expanded: new Set(expanded.map(host)),
});

import { describe, expect, test } from "bun:test";
import { type ExposureInput, expose } from "../../src/exposure/expose.ts";
import type { Exposure } from "../../src/exposure/exposure.ts";
import { endpoint } from "../daemon/support.ts";
import { ip, mapping, subnet } from "../machine/support.ts";

const on = (text: string) => ({ kind: "loopback", range: subnet(text) }) as const;
const http = endpoint("ep_1", "http://a.demo");
const https = endpoint("ep_2", "https://a.demo");
const other = endpoint("ep_3", "tcp://b.demo:5432");

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

  test("leaves out what is forbidden or cannot be served, with the reason", () => {
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
        id: "ep_2",
        url: "https://a.demo",
        reason: 'the account "work" serves a host of this name',
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

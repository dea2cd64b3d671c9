import { describe, expect, test } from "bun:test";
import { configSchema } from "../../src/config/schema.ts";
import { lookUpConf, subjectsOf } from "../../src/daemon/name-policy.ts";

describe("the name servers that are asked what a name means", () => {
  const stub = "nameserver 127.0.0.53\nsearch corp.example\n";
  const uplinks = "nameserver 10.107.0.1\nnameserver 192.0.2.53\n";
  const conf = (texts: { resolvConf?: string; uplinks?: string }, dns: object = {}) =>
    lookUpConf(configSchema.parse({ dns: { listen: "10.107.0.1:53", ...dns } }), {
      resolvConf: "",
      uplinks,
      runtime: () => ["192.0.2.99"],
      ...texts,
    });

  test("are those of resolv.conf, and behind systemd-resolved those of its networks", () => {
    expect(conf({ resolvConf: "nameserver 192.0.2.1\n" })).toEqual({
      servers: ["192.0.2.1"],
      search: [],
      uplinks: [],
    });
    expect(conf({ resolvConf: stub })).toEqual({
      servers: ["127.0.0.53"],
      search: ["corp.example"],
      uplinks: ["10.107.0.1", "192.0.2.53"],
    });
  });

  test("are never the daemon's own, in neither place", () => {
    const resolvConf = "nameserver 10.107.0.1\nnameserver 192.0.2.1\n";
    expect(conf({ resolvConf }, { enabled: true }).servers).toEqual(["192.0.2.1"]);
    expect(conf({ resolvConf: stub }, { enabled: true }).uplinks).toEqual(["192.0.2.53"]);
  });

  test("are those of the runtime on a system without resolv.conf", () => {
    expect(conf({}).servers).toEqual(["192.0.2.99"]);
  });
});

describe("the subjects of several accounts", () => {
  const listOf = (...hosts: string[]) =>
    hosts.map((host) => ({ id: `ep_${host}`, url: `http://${host}`, proto: "http" }));
  const [first, second] = [listOf("a.demo", "*.b.demo"), listOf("a.demo", "c.demo")];

  test("are the same object for the same lists, so a pass makes no table of them", () => {
    const subjects = () => subjectsOf([{ listed: first }, { listed: second }]);
    expect([...subjects()]).toEqual(["a.demo", "*.b.demo", "c.demo"]);
    expect(subjects()).toBe(subjects());
    expect(subjectsOf([{ listed: first }])).toBe(subjectsOf([{ listed: first }]));
  });

  test("are others if one list is another", () => {
    const before = subjectsOf([{ listed: first }, { listed: second }]);
    const after = subjectsOf([{ listed: first }, { listed: listOf("d.demo") }]);
    expect([...after]).toEqual(["a.demo", "*.b.demo", "d.demo"]);
    expect([...before]).toEqual(["a.demo", "*.b.demo", "c.demo"]);
  });
});

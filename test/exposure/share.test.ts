import { describe, expect, test } from "bun:test";
import { expose } from "../../src/exposure/expose.ts";
import { doorwaysOf } from "../../src/exposure/exposure.ts";
import { plan } from "../../src/exposure/plan.ts";
import { type AddressesOf, type ReachSettings, reachOf } from "../../src/exposure/reach.ts";
import { type Shared, type ShareInput, share } from "../../src/exposure/share.ts";
import { endpoint } from "../daemon/support.ts";
import { host, ip, subnet } from "../machine/support.ts";

const urls = ["http://a.demo", "http://b.demo", "https://a.demo", "tcp://c.demo:5432"];
const lan: AddressesOf = (name) => (name === "lan0" ? [ip("192.0.2.7"), ip("192.0.2.8")] : []);

describe("share", () => {
  test("adds nothing if every host is virtual", () => {
    const { exposure } = shared("virtual");
    expect(doors(exposure)).toEqual(own);
  });

  test("lets HTTP and TLS share ports on one address, and gives TCP one", () => {
    const { exposure, network, ports } = shared("192.0.2.1");
    expect(doors(exposure)).toEqual({
      ...own,
      "192.0.2.1:80": ["name a.demo -> a.demo:80", "name b.demo -> b.demo:80"],
      "192.0.2.1:443": ["name a.demo -> a.demo:443"],
      "192.0.2.1:5432": ["any -> c.demo:5432"],
    });
    expect(Object.fromEntries(ports)).toEqual({ "c.demo:5432": 5432 });
    expect(network.get("b.demo:80")).toEqual({
      listen: "192.0.2.1",
      places: [{ ip: ip("192.0.2.1"), port: 80, door: "192.0.2.1:80" }],
      reason: "",
    });
  });

  test("lets a door on all addresses take over those of single addresses", () => {
    const { exposure } = shared("0.0.0.0");
    expect(doors(exposure)).toEqual({
      "0.0.0.0:80": [
        "any at 127.0.0.2 -> a.demo:80",
        "any at 127.0.0.3 -> b.demo:80",
        "name a.demo -> a.demo:80",
        "name b.demo -> b.demo:80",
      ],
      "0.0.0.0:443": ["any at 127.0.0.2 -> a.demo:443", "name a.demo -> a.demo:443"],
      "0.0.0.0:5432": ["any at 127.0.0.4 -> c.demo:5432", "any -> c.demo:5432"],
    });
  });

  test("keeps a host with an override to its address, also below a wider door", () => {
    const { exposure } = shared("::", {
      overrides: { "b.demo": "192.0.2.1", "*.demo": "virtual" },
    });
    expect(doors(exposure)["192.0.2.1:80"]).toEqual(["name b.demo -> b.demo:80"]);
    const wide = shared("::", { overrides: { "b.demo": "192.0.2.1", "c.demo": "0.0.0.0" } });
    expect(doors(wide.exposure)["[::]:80"]).toEqual([
      "any at 127.0.0.2 -> a.demo:80",
      "any at 127.0.0.3 -> b.demo:80",
      "name b.demo at 192.0.2.1 -> b.demo:80",
      "name a.demo -> a.demo:80",
    ]);
    expect(wide.network.get("b.demo:80")?.places).toEqual([
      { ip: ip("192.0.2.1"), port: 80, door: "[::]:80" },
    ]);
  });

  test("listens on all addresses of an interface, and says if it has none", () => {
    const { exposure } = shared("lan0");
    expect(Object.keys(doors(exposure)).filter((id) => id.endsWith(":80"))).toEqual([
      "127.0.0.2:80",
      "127.0.0.3:80",
      "192.0.2.7:80",
      "192.0.2.8:80",
    ]);
    const gone = shared("wlan9");
    expect(doors(gone.exposure)).toEqual(own);
    expect(gone.network.get("a.demo:80")).toEqual({
      listen: "wlan9",
      places: [],
      reason: 'the interface "wlan9" has no address now',
    });
  });

  test("gives TCP endpoints whose port is taken one from the first on, for ever", () => {
    const more = [...urls, "tcp://d.demo:5432", "tcp://e.demo:80"];
    const first = shared("192.0.2.1", {}, { taken: new Set(["192.0.2.1:9080"]) }, more);
    const expected = { "c.demo:5432": 5432, "d.demo:5432": 9081, "e.demo:80": 9082 };
    expect(Object.fromEntries(first.ports)).toEqual(expected);
    const later = shared("192.0.2.1", {}, { ports: first.ports }, ["tcp://e.demo:80"]);
    expect(Object.fromEntries(later.ports)).toEqual(expected);
    expect(doors(later.exposure)["192.0.2.1:9082"]).toEqual(["any -> e.demo:80"]);
  });

  test("gives HTTP a port of its own if another program has the shared one", () => {
    const { exposure, ports, network } = shared("0.0.0.0", {}, { taken: new Set(["0.0.0.0:80"]) });
    expect(Object.fromEntries(ports)).toMatchObject({ "a.demo:80": 9080, "b.demo:80": 9081 });
    expect(doors(exposure)["127.0.0.2:80"]).toEqual(["any -> a.demo:80"]);
    expect(doors(exposure)["0.0.0.0:9081"]).toEqual(["any -> b.demo:80"]);
    expect(network.get("b.demo:80")?.places).toEqual([
      { ip: ip("0.0.0.0"), port: 9081, door: "0.0.0.0:9081" },
    ]);
  });

  test("keeps a port of the Go program beside the shared one", () => {
    const ports = new Map([["a.demo:443", 9443]]);
    const { exposure, network } = shared("192.0.2.1", {}, { ports });
    expect(doors(exposure)["192.0.2.1:9443"]).toEqual(["any -> a.demo:443"]);
    expect(network.get("a.demo:443")?.places.map(({ port }) => port)).toEqual([9443, 443]);
  });

  test("returns equal data for endpoints in any order", () => {
    expect(shared("::", {}, {}, urls.toReversed())).toEqual(shared("::"));
  });
});

describe("aliases of hosts on a shared port", () => {
  const aliases = new Map([[host("a.demo"), [host("a"), host("first.demo")]]]);
  const matches = ({ exposure }: Shared, door: string) =>
    exposure.routes.filter((route) => route.door === door).map(({ match }) => match);

  test("lead to their endpoint by Host and by SNI", () => {
    const withAliases = shared("192.0.2.1", {}, { aliases });
    const named = { kind: "name", host: "a.demo", aliases: ["a", "first.demo"] };
    expect(matches(withAliases, "192.0.2.1:80")).toMatchObject([named, { host: "b.demo" }]);
    expect(matches(withAliases, "192.0.2.1:443")).toMatchObject([named]);
    expect(matches(withAliases, "192.0.2.1:5432")).toEqual([{ kind: "any" }]);
  });

  test("come and go with a change of routes, and no door closes", () => {
    const [without, withThem] = [shared("0.0.0.0"), shared("0.0.0.0", {}, { aliases })];
    for (const steps of [planned(withThem, without), planned(without, withThem)])
      expect(steps).toEqual({
        open: [],
        reroute: ["0.0.0.0:443", "0.0.0.0:80"],
        close: [],
        reopen: [],
      });
    expect(planned(withThem, withThem).reroute).toEqual([]);
  });
});

describe("plan of shared doors", () => {
  test("opens a door on all addresses after those at its port have closed", () => {
    const steps = planned(shared("0.0.0.0"), shared("virtual"));
    expect(steps).toEqual({
      open: [],
      reroute: [],
      close: ["127.0.0.2:443", "127.0.0.2:80", "127.0.0.3:80", "127.0.0.4:5432"],
      reopen: ["0.0.0.0:443", "0.0.0.0:80", "0.0.0.0:5432"],
    });
    expect(planned(shared("virtual"), shared("0.0.0.0")).reopen).toEqual(
      Object.keys(doors(shared("virtual").exposure)),
    );
  });

  test("adds and removes names of a shared door without closing it", () => {
    const [less, more] = [shared("0.0.0.0", {}, {}, urls.slice(1)), shared("0.0.0.0")];
    expect(planned(more, less)).toMatchObject({
      reroute: ["0.0.0.0:80"],
      close: [],
    });
    expect(planned(less, more)).toMatchObject({
      reroute: ["0.0.0.0:80"],
      close: [],
    });
  });

  test("moves only the shared doors if the address changes", () => {
    expect(planned(shared("192.0.2.9"), shared("192.0.2.1"))).toEqual({
      open: ["192.0.2.9:443", "192.0.2.9:80", "192.0.2.9:5432"],
      reroute: [],
      close: ["192.0.2.1:443", "192.0.2.1:80", "192.0.2.1:5432"],
      reopen: [],
    });
  });
});

const own = {
  "127.0.0.2:80": ["any -> a.demo:80"],
  "127.0.0.3:80": ["any -> b.demo:80"],
  "127.0.0.2:443": ["any -> a.demo:443"],
  "127.0.0.4:5432": ["any -> c.demo:5432"],
};

function shared(
  listen: string,
  settings: Partial<ReachSettings> = {},
  rest: Partial<ShareInput> = {},
  listed: readonly string[] = urls,
): Shared {
  const { exposure } = expose({
    accounts: [{ account: "default", listed: listed.map((url) => endpoint(url, url)) }],
    assignment: new Map(
      ["a", "b", "c"].map((name, i) => [host(`${name}.demo`), ip(`127.0.0.${i + 2}`)]),
    ),
    policy: { forbidden: () => undefined },
    machine: { ground: { kind: "loopback", range: subnet("127.0.0.0/8") }, taken: new Set() },
  });
  const reach = reachOf({ listen_interface: listen, overrides: {}, ...settings }, lan);
  return share({ exposure, reach, ports: new Map(), startPort: 9080, taken: new Set(), ...rest });
}

/** Each door with its routes in words. */
function doors(exposure: Shared["exposure"]): Record<string, string[]> {
  const text = (value: string | undefined, before: string): string =>
    value === undefined ? "" : `${before}${value}`;
  return Object.fromEntries(
    doorwaysOf(exposure).map(({ door, routes }) => [
      door.id,
      routes.map(({ match, target }) => {
        const name = match.kind === "name" ? ` ${match.host}` : "";
        return `${match.kind}${name}${text(match.at, " at ")} -> ${target.binding.key}`;
      }),
    ]),
  );
}

function planned(wanted: Shared, present: Shared) {
  const doorways = new Map(doorwaysOf(present.exposure).map((one) => [one.door.id, one]));
  const steps = plan(wanted.exposure, doorways);
  const ids = (list: readonly { door: { id: string } }[]): string[] =>
    list.map(({ door }) => door.id);
  return {
    open: ids(steps.open),
    reroute: ids(steps.reroute),
    close: steps.close,
    reopen: ids(steps.reopen),
  };
}

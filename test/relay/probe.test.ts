import { describe, expect, test } from "bun:test";
import { type AnyIp, type Ip, ipFromNumber } from "../../src/model/ip.ts";
import { createBunNet } from "../../src/net/bun.ts";
import { listeningKey } from "../../src/net/proc-net.ts";
import type { Listener } from "../../src/net/types.ts";
import { doubtfulAmong, type Place, probe } from "../../src/relay/probe.ts";

const net = createBunNet();
const at = (ip: string, port = 18010): Place<Ip> => ({ ip: ip as Ip, port });
const keys = (...places: readonly [string, number][]): ReadonlySet<string> =>
  new Set(places.map(([host, port]) => listeningKey(host, port)));
const two = [at("127.81.1.1"), at("127.81.1.2")];

describe("the places that other programs may have", () => {
  test("are those at which a socket listens", () => {
    const listening = keys(["127.81.1.2", 18010], ["127.81.1.1", 18011], ["0.0.0.0", 18011]);
    expect(doubtfulAmong(two, listening)).toEqual([at("127.81.1.2")]);
  });

  test.each(["0.0.0.0", "::", "::1", "::ffff:127.81.1.9"])("are all at the port of %s", (host) => {
    expect(doubtfulAmong(two, keys([host, 18010]))).toEqual(two);
    expect(doubtfulAmong(two, keys([host, 18011]))).toEqual([]);
  });

  test("are all of IPv6, and all of a system that lists nothing", () => {
    const six: Place = { ip: "fd00::1" as AnyIp, port: 18010 };
    expect(doubtfulAmong([six, ...two], keys(["127.0.0.1", 22]))).toEqual([six]);
    expect(doubtfulAmong(two, new Set())).toEqual(two);
  });
});

describe("a probe of many places", () => {
  const many = Array.from({ length: 300 }, (_, i) => at(ipFromNumber(0x7f51_0201 + i), 18012));

  test("finds the same addresses with and without the system's list", async () => {
    const open: Listener[] = [];
    for (const n of [0, 7, 299]) {
      const { ip: host, port } = many[n] ?? at("");
      open.push(await net.listen({ host, port }, (conn) => conn.abort()));
    }
    const taken = new Set([0, 7, 299].map((n) => many[n]?.ip));
    const found = {
      bySystem: await probe(net, many),
      byTrials: await probe(net, many, async () => undefined),
    };
    for (const listener of open) listener.close();
    expect(found).toEqual({ bySystem: taken, byTrials: taken } as typeof found);
  });

  test("binds only the places in doubt", async () => {
    const bound: string[] = [];
    const counting: typeof net.listen = (address, ...more) => {
      if ("host" in address) bound.push(address.host);
      return net.listen(address, ...more);
    };
    const listing = async () => new Set(keys(["127.81.2.3", 18012]));
    expect((await probe({ listen: counting }, many, listing)).size).toBe(0);
    expect(bound).toEqual(["127.81.2.3"]);
  });

  test("asks for the list twice, since one may lack a socket", async () => {
    const other = await net.listen({ host: "127.81.2.4", port: 18012 }, (conn) => conn.abort());
    const lists = [keys(["127.0.0.1", 22]), keys(["127.81.2.4", 18012])];
    const found = await probe(net, many, async () => new Set(lists.shift()));
    other.close();
    expect([...found] as string[]).toEqual(["127.81.2.4"]);
  });
});

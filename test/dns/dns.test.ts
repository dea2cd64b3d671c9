import { afterEach, describe, expect, test } from "bun:test";
import type packet from "dns-packet";
import { type DnsOptions, type DnsServer, startDns, usualLimits } from "../../src/dns/dns.ts";
import { dnsmasqFiles } from "../../src/machine/resolver/zone-files.ts";
import { isNgrokdError } from "../../src/model/error.ts";
import type { HostPort } from "../../src/model/host-port.ts";
import { host, temporaryFolder } from "../machine/support.ts";
import { net } from "../support/conns.ts";
import { until } from "../support/story.ts";
import { dataOf, decode, question, rcodeOf, zonesWith } from "./support.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function server(changes: Partial<DnsOptions> = {}): Promise<DnsServer> {
  const options: DnsOptions = {
    net,
    zones: () => zonesWith(),
    fresh: async () => "refused",
    upstream: () => [],
    mayAsk: () => true,
    isOwn: () => true,
    ...changes,
  };
  // A port that is free for UDP may be taken for TCP.
  const started = await until("a port is free for both", () =>
    startDns({ host: "127.0.0.1", port: 0 }, options),
  );
  closing.push(started.close);
  return started;
}

/** The reply to a datagram; undefined is silence. */
async function ask(
  at: HostPort,
  bytes: Uint8Array,
  withinMs = 15_000,
): Promise<Uint8Array | undefined> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
  const socket = await net.udp({ host: "127.0.0.1", port: 0 }, resolve);
  socket.send(bytes, at);
  const timer = setTimeout(() => resolve(undefined), withinMs);
  const reply = await promise;
  clearTimeout(timer);
  socket.close();
  return reply;
}

async function askByTcp(at: HostPort, pieces: readonly Uint8Array[]): Promise<Uint8Array[]> {
  const conn = await net.dial(at);
  for (const piece of pieces) await conn.write(piece);
  conn.closeWrite();
  const all: Uint8Array[] = [];
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) all.push(bytes);
  conn.close();
  const whole = Buffer.concat(all);
  const replies: Uint8Array[] = [];
  for (let i = 0; i < whole.length; i += 2 + whole.readUInt16BE(i))
    replies.push(whole.subarray(i + 2, i + 2 + whole.readUInt16BE(i)));
  return replies;
}

const framed = (bytes: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);

/** Runs a program, and returns its output without blank ends. */
async function output(command: readonly string[]): Promise<string> {
  const child = Bun.spawn([...command], { stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return `${out}${err}`.trim();
}

describe("startDns", () => {
  test("answers by UDP, and REFUSED for names of others", async () => {
    const { address, stats } = await server();
    const own = await ask(address, question("api.corp.internal"));
    const other = await ask(address, question("example.com"));
    expect(dataOf(own ?? new Uint8Array())).toEqual(["10.107.0.2"]);
    expect(rcodeOf(other ?? new Uint8Array())).toBe("REFUSED");
    expect(stats.questions).toBe(2);
  });

  test("answers several questions of one TCP connection in order, cut anywhere", async () => {
    const { address } = await server();
    const both = Buffer.concat([
      framed(question("api.corp.internal")),
      framed(question("known.team.internal")),
    ]);
    for (const at of [1, 2, 20, both.length - 1]) {
      const replies = await askByTcp(address, [both.subarray(0, at), both.subarray(at)]);
      expect(replies.map((reply) => dataOf(reply))).toEqual([["10.107.0.2"], ["10.107.0.3"]]);
    }
  });

  test("gives a name below a wildcard the address of `fresh`, and NXDOMAIN without", async () => {
    const asked: string[] = [];
    const { address } = await server({
      async fresh(host) {
        asked.push(host);
        return host === "no.team.internal"
          ? "refused"
          : host === "later.team.internal"
            ? "busy"
            : ["10.107.9.9"];
      },
    });
    const [yes, no, later] = await Promise.all(
      ["New.team.internal", "no.team.internal", "later.team.internal"].map(
        async (name) => (await ask(address, question(name))) ?? new Uint8Array(),
      ),
    );
    expect(asked.sort()).toEqual(["later.team.internal", "new.team.internal", "no.team.internal"]);
    expect(dataOf(yes ?? new Uint8Array())).toEqual(["10.107.9.9"]);
    expect([no, later].map((reply) => rcodeOf(reply ?? new Uint8Array()))).toEqual([
      "NXDOMAIN",
      "SERVFAIL",
    ]);
  });

  test("refuses clients that may not ask, also names of ours", async () => {
    const { address, stats } = await server({ mayAsk: () => false, isOwn: () => false });
    const reply = await ask(address, question("api.corp.internal"));
    expect({ code: rcodeOf(reply ?? new Uint8Array()), refused: stats.refused }).toEqual({
      code: "REFUSED",
      refused: 1,
    });
  });

  test("limits the questions of another machine, and the fresh names of any client", async () => {
    const few = { perSecond: 0.001, burst: 2 };
    const limits = { ...usualLimits, questions: few, fresh: few };
    const other = await server({ isOwn: () => false, limits });
    let answered = 0;
    for (let n = 0; n < 3; n += 1)
      void ask(other.address, question("api.corp.internal")).then((reply) => {
        if (reply !== undefined) answered += 1;
      });
    await until("two are answered", () => answered === 2);
    await Bun.sleep(500);
    expect(answered).toBe(2);
    const own = await server({ fresh: async () => ["10.107.9.9"], limits });
    const codes = [1, 2, 3].map(async (n) =>
      rcodeOf((await ask(own.address, question(`n${n}.team.internal`))) ?? new Uint8Array()),
    );
    expect((await Promise.all(codes)).sort()).toEqual(["NOERROR", "NOERROR", "SERVFAIL"]);
  });

  test("says that EDNS of a later version is unknown to it", async () => {
    const { address } = await server();
    const opt: packet.OptAnswer = {
      type: "OPT",
      name: ".",
      udpPayloadSize: 1232,
      flags: 0,
      options: [],
      extendedRcode: 0,
      ednsVersion: 1,
      flag_do: false,
    };
    const reply = decode(
      (await ask(address, question("api.corp.internal", "A", { additionals: [opt] }))) ??
        new Uint8Array(),
    );
    expect(reply.additionals).toMatchObject([{ type: "OPT", extendedRcode: 1 }]);
  });

  test("goes on after damaged packets by UDP and TCP", async () => {
    const { address } = await server();
    for (let n = 0; n < 300; n += 1) {
      const bytes = Uint8Array.from(question("api.corp.internal")).subarray(0, n % 40);
      if (bytes.length > 13) bytes[12] = n % 256;
      const socket = await net.udp({ host: "127.0.0.1", port: 0 }, () => undefined);
      socket.send(bytes, address);
      socket.close();
    }
    expect(await askByTcp(address, [framed(new Uint8Array(3))]).catch(() => "cut")).toBeDefined();
    expect(dataOf((await ask(address, question("api.corp.internal"))) ?? new Uint8Array())).toEqual(
      ["10.107.0.2"],
    );
  });

  test("closes a silent TCP connection, and takes no more than its number", async () => {
    const { address } = await server({ limits: { ...usualLimits, connections: 1, idleMs: 300 } });
    const first = await net.dial(address);
    await Bun.sleep(50);
    const second = await net.dial(address);
    const endOf = async (conn: typeof first): Promise<string> => {
      try {
        return (await conn.read()) === null ? "end" : "bytes";
      } catch {
        return "reset";
      }
    };
    expect(await endOf(second)).not.toBe("bytes");
    expect(await endOf(first)).not.toBe("bytes");
  });

  test("lets silent TCP connections keep nobody out", async () => {
    const { address } = await server({ limits: { ...usualLimits, connections: 2 } });
    const silent = [await net.dial(address), await net.dial(address)];
    await Bun.sleep(50);
    const asked = framed(question("api.corp.internal"));
    expect(await askByTcp(address, [asked]).catch(() => [])).toHaveLength(1);
    for (const conn of silent) conn.abort();
  });

  test("reports a port in use", async () => {
    const { address } = await server();
    const again = startDns(address, {
      net,
      zones: () => zonesWith(),
      fresh: async () => "refused",
      upstream: () => [],
      mayAsk: () => true,
      isOwn: () => true,
    });
    const error = await again.then(
      (it) => it.close(),
      (reason: unknown) => reason,
    );
    expect(isNgrokdError(error, "address-in-use")).toBe(true);
  });
});

describe("upstream servers", () => {
  const silent = async (): Promise<HostPort> => {
    const socket = await net.udp({ host: "127.0.0.1", port: 0 }, () => undefined);
    closing.push(() => socket.close());
    return socket.address;
  };

  test("are asked at once, and the first that knows wins", async () => {
    const wise = await server({
      zones: () => zonesWith({ names: new Map([["example.com", ["192.0.2.1"]]]) }),
    });
    const ignorant = await server();
    const upstream = [await silent(), ignorant.address, wise.address];
    const { address } = await server({ upstream: () => upstream });
    const reply = (await ask(address, question("Example.com"))) ?? new Uint8Array();
    expect({ id: decode(reply).id, data: dataOf(reply) }).toEqual({
      id: 4711,
      data: ["192.0.2.1"],
    });
    const [byTcp = new Uint8Array()] = await askByTcp(address, [framed(question("example.com"))]);
    expect(dataOf(byTcp)).toEqual(["192.0.2.1"]);
  });

  test("are never asked for names of ours", async () => {
    const other = await server();
    const { address } = await server({ upstream: () => [other.address] });
    await ask(address, question("api.corp.internal"));
    await ask(address, question("x.team.internal"));
    expect(other.stats.questions).toBe(0);
  });

  test("that do not answer mean SERVFAIL, and strangers' replies count for nothing", async () => {
    const fake = await net.udp({ host: "127.0.0.1", port: 0 }, (bytes, from) => {
      const reply = Uint8Array.from(bytes);
      reply[0] = (reply[0] ?? 0) ^ 1;
      reply[2] = 0x80;
      fake.send(reply, from);
    });
    closing.push(() => fake.close());
    const { address } = await server({ upstream: () => [fake.address] });
    const reply = (await ask(address, question("example.com"), 15_000)) ?? new Uint8Array();
    expect(rcodeOf(reply)).toBe("SERVFAIL");
  });
});

const has = (tool: string): boolean => Bun.which(tool) !== null;

describe("other people's tools", () => {
  test.skipIf(!has("dig"))("dig: UDP, TCP, EDNS, reverse, and names in odd case", async () => {
    const { port } = (await server()).address;
    const dig = (...words: string[]): Promise<string> =>
      output(["dig", "@127.0.0.1", "-p", String(port), "+tries=1", "+time=15", ...words]);
    expect(await dig("+short", "API.corp.internal")).toBe("10.107.0.2");
    expect(await dig("+short", "+tcp", "known.team.internal", "AAAA")).toBe("fd00::3");
    expect(await dig("+short", "-x", "10.107.0.2")).toBe("api.corp.internal.");
    const nodata = await dig("+norecurse", "api.corp.internal", "AAAA");
    expect(nodata).toContain("status: NOERROR");
    expect(nodata).toMatch(/api\.corp\.internal\.\s+5\s+IN\s+SOA\s/);
    expect(nodata).not.toMatch(/warning|malformed|mismatch/i);
    expect(await dig("example.com")).toContain("status: REFUSED");
    expect(await dig("+edns=1", "+noednsneg", "api.corp.internal")).toContain("status: BADVERS");
  });

  test.skipIf(!has("kdig"))("kdig: several questions on one TCP connection", async () => {
    const { port } = (await server()).address;
    const at = ["@127.0.0.1", "-p", String(port), "+tcp", "+keepopen", "+short"];
    const out = await output(["kdig", ...at, "api.corp.internal", "known.team.internal"]);
    expect(out).toBe("10.107.0.2\n10.107.0.3");
  });

  test.skipIf(!has("dnsmasq") || !has("dig"))("dnsmasq: our file sends it to us", async () => {
    const { address } = await server({ fresh: async () => ["10.107.9.9"] });
    await using folder = await temporaryFolder();
    const wanted = { server: address, zones: [host("team.internal")] };
    for (const [path, text] of dnsmasqFiles(folder.path, wanted)) await Bun.write(path, text);
    // At an address of its own, no other program has the port.
    const own = "127.90.0.1";
    const port = 18_402;
    const child = Bun.spawn(
      [
        "dnsmasq",
        ..."--no-daemon --no-resolv --no-hosts --bind-interfaces --user=root".split(" "),
        `--listen-address=${own}`,
        `--port=${port}`,
        `--conf-dir=${folder.path}`,
      ],
      { stdout: "ignore", stderr: "ignore" },
    );
    closing.push(() => child.kill());
    const dig = (name: string): Promise<string> =>
      output(["dig", `@${own}`, "-p", String(port), "+short", "+tries=1", "+time=2", name]);
    await until("dnsmasq asks us", async () => (await dig("a.team.internal")) === "10.107.9.9");
    expect(await dig("example.com")).not.toContain("10.107");
  });

  test.skipIf(!has("dnsperf"))("dnsperf: none of its 20,000 questions is lost", async () => {
    const { port } = (await server()).address;
    const folder = `${process.env.TMPDIR ?? "/tmp"}/dnsperf-${process.pid}.txt`;
    await Bun.write(folder, "api.corp.internal A\nknown.team.internal AAAA\nno.example A\n");
    const out = await output([
      "dnsperf",
      "-s",
      "127.0.0.1",
      "-p",
      String(port),
      "-d",
      folder,
      "-n",
      "6667",
      "-q",
      "50",
      "-t",
      "15",
    ]);
    expect(out).toMatch(/Queries sent:\s+20001\n/);
    expect(out).toMatch(/Queries lost:\s+0 /);
    expect(out).toMatch(/NOERROR 13334 .*REFUSED 6667 /);
  });
});

import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { type Daemon, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, foreignHosts, stories } from "../support/story.ts";
import { dial, echo, resolve } from "../support/tcp.ts";
import { page } from "../support/web.ts";

const curl = async (url: string): Promise<string> =>
  (await run(["curl", "-sS", "--max-time", "60", url])).out;

let cloud: Cloud;
let daemon: Daemon;
const [one, two] = [{ address: "" }, { address: "" }];

const begin = async (): Promise<void> => {
  ({ cloud, daemon } = await registered());
  Object.assign(one, page("one"));
  Object.assign(two, page("two"));
};

stories("endpoints come, move and go while the daemon runs", () => {
  beforeAll(begin);

  test("a new endpoint works by name within a poll", async () => {
    await cloud.add("http://shop.demo", one.address);
    await daemon.becomes("shop.demo", "listening");
    expect(await curl("http://shop.demo/")).toBe("one");
  });

  test("an endpoint that moves to another service goes on without a change here", async () => {
    const id = (await daemon.becomes("shop.demo", "listening")).id;
    await cloud.change(id, { upstream: two.address });
    expect(await curl("http://shop.demo/")).toBe("two");
  });

  test("an endpoint that changes its port moves its listener and keeps its address", async () => {
    const { id, ip } = await daemon.becomes("shop.demo", "listening");
    await cloud.change(id, { url: "http://shop.demo:8080" });
    await daemon.refresh();
    expect(await daemon.endpoint("shop.demo")).toMatchObject({
      port: 8080,
      ip,
      state: "listening",
    });
    expect(await curl("http://shop.demo:8080/")).toBe("two");
    await expect(dial(ip, 80)).rejects.toThrow();
    expect(await resolve("shop.demo")).toBe(ip);
  });

  test("an endpoint that gets another name loses the old one", async () => {
    const { id } = await daemon.becomes("shop.demo", "listening");
    await cloud.change(id, { url: "http://store.demo:8080" });
    await daemon.refresh();
    expect(await resolve("shop.demo")).toBeUndefined();
    expect(await curl("http://store.demo:8080/")).toBe("two");
  });

  test("a name has one address for all its ports", async () => {
    await cloud.add("tcp://store.demo:7000", (await echo()).address);
    await daemon.refresh();
    const items = (await daemon.list()).filter(({ hostname }) => hostname === "store.demo");
    expect(items.map(({ state }) => state)).toEqual(["listening", "listening"]);
    expect(new Set(items.map(({ ip }) => ip)).size).toBe(1);
  });

  test("endpoints with one URL share a listener, which lives until the last one goes", async () => {
    const first = await cloud.add("http://pool.demo", one.address);
    const second = await cloud.add("http://pool.demo", two.address);
    await daemon.refresh();
    expect((await daemon.endpoint("pool.demo"))?.ids).toEqual([first, second].sort());
    expect(new Set([await curl("http://pool.demo/"), await curl("http://pool.demo/")])).toEqual(
      new Set(["one", "two"]),
    );
    await cloud.remove(first);
    await daemon.refresh();
    expect((await daemon.endpoint("pool.demo"))?.ids).toEqual([second]);
    expect(await curl("http://pool.demo/")).toBe("two");
  });

  test("an endpoint that is removed is gone from the list, the hosts file and its port", async () => {
    const { id, ip } = await daemon.becomes("pool.demo", "listening");
    await cloud.remove(id);
    await daemon.refresh();
    await daemon.becomes("pool.demo", "gone");
    expect(await resolve("pool.demo")).toBeUndefined();
    await expect(dial(ip, 80)).rejects.toThrow();
  });

  test("an endpoint that is deleted but still listed as bound counts as gone", async () => {
    const id = await cloud.add("http://stale.demo", one.address);
    await daemon.refresh();
    await daemon.becomes("stale.demo", "listening");
    await cloud.remove(id, "lingers");
    await daemon.refresh();
    await daemon.becomes("stale.demo", "gone");
    await cloud.remove(id);
  });

  test("a connection that runs when its endpoint goes may finish", async () => {
    const id = await cloud.add("tcp://long.demo:7005", (await echo()).address);
    await daemon.refresh();
    await daemon.becomes("long.demo", "listening");
    const client = await dial("long.demo", 7005);
    await client.write("before ");
    expect(await client.read(7)).toBe("before ");
    await cloud.remove(id);
    await daemon.refresh();
    await daemon.becomes("long.demo", "draining");
    expect((await daemon.status()).endpoints.draining).toBe(1);
    await client.write("after");
    client.end();
    expect(await client.rest()).toBe("after");
    await daemon.becomes("long.demo", "gone");
  });

  test("an endpoint that comes back has the address that it had", async () => {
    const id = await cloud.add("http://comet.demo", one.address);
    await daemon.refresh();
    const { ip } = await daemon.becomes("comet.demo", "listening");
    await cloud.remove(id);
    await daemon.refresh();
    await daemon.becomes("comet.demo", "gone");
    await cloud.add("http://newcomer.demo", one.address);
    await daemon.refresh();
    await daemon.becomes("newcomer.demo", "listening");
    await cloud.add("http://comet.demo", one.address);
    await daemon.refresh();
    expect((await daemon.becomes("comet.demo", "listening")).ip).toBe(ip);
  });

  test("an endpoint removed while the daemon was off goes with its first poll", async () => {
    const { id } = await daemon.becomes("comet.demo", "listening");
    await daemon.stop("SIGKILL");
    await cloud.remove(id);
    daemon = await serve();
    // The last list is served first, and corrected by the first poll.
    await daemon.becomes("newcomer.demo", "listening");
    await daemon.becomes("comet.demo", "gone");
    expect(await resolve("comet.demo")).toBeUndefined();
  });
});

stories("endpoints that cannot be served", () => {
  beforeAll(begin);
  beforeAll(async () => {
    await cloud.add("http://store.demo:8080", two.address);
    await daemon.becomes("store.demo", "listening");
  });

  test("bad and forbidden names are listed with the reason, and reach no hosts file", async () => {
    const bad: readonly [string, string][] = [
      ["http://*.wild.demo", "a wildcard needs dns.enabled: true, or its names in names.expand"],
      ["http://localhost", '"localhost" always means the local machine or network'],
      ["http://evil.demo\n127.0.0.1 bank.example", "has a character that is not allowed in names"],
      ["http://nul\u0000.demo", "has a character that is not allowed in names"],
      [`http://${"x".repeat(1_000_000)}.demo`, "is not [scheme://]host[:port]"],
      ["ftp://files.demo", 'has the scheme "ftp"'],
      ["tcp://portless.demo", "names no port"],
      ["http://zero.demo:0", "is not 1 to 65535"],
      ["http://10.0.0.1", "reads as an IP address"],
      ["", "the endpoint has no URL"],
    ];
    const ids: string[] = [];
    for (const [url] of bad) ids.push(await cloud.add(url, one.address, { unchecked: true }));
    await daemon.refresh();
    const items = await daemon.list();
    for (const [i, [, reason]] of bad.entries()) {
      const item = items.find(({ id }) => id === ids[i]);
      expect(item).toMatchObject({ state: "unsupported", ip: "", local_listener: false });
      expect(item?.reason).toContain(reason);
    }
    const hosts = readFileSync("/etc/hosts", "latin1");
    expect(hosts.startsWith(foreignHosts)).toBe(true);
    expect(hosts).not.toMatch(/wild|evil|bank|nul|xxx|portless|zero|files|10\.0\.0\.1/);
    expect(hosts.match(/localhost/g)).toHaveLength(foreignHosts.match(/localhost/g)?.length ?? 0);
    expect(await curl("http://store.demo:8080/")).toBe("two");
    expect(
      daemon
        .log()
        .split("\n")
        .every((line) => line.length < 1000),
    ).toBe(true);
    const { out } = await ngrokd("list");
    expect(out.split("\n").every((line) => /^[\x20-\x7e]{0,140}$/.test(line))).toBe(true);
    for (const id of ids) await cloud.remove(id);
  });

  test("a port in use on all addresses fails that endpoint alone, until it is free", async () => {
    const occupant = createServer();
    await new Promise<void>((listening) => occupant.listen(9090, "0.0.0.0", listening));
    await cloud.add("http://crowded.demo:9090", one.address);
    const { reason } = await daemon.becomes("crowded.demo", "failed");
    expect(reason).toMatch(
      /^another program listens on 127\.0\.0\.\d+:9090 \(or on port 9090 of all addresses\)$/,
    );
    expect(await resolve("crowded.demo")).toBeUndefined();
    expect(await curl("http://store.demo:8080/")).toBe("two");
    expect((await ngrokd("status")).out).toContain("1 failed");
    await new Promise((closed) => occupant.close(closed));
    await daemon.becomes("crowded.demo", "listening");
    expect(await curl("http://crowded.demo:9090/")).toBe("one");
  });

  test("a port in use on one address gives a new name another address", async () => {
    const given = Object.values(
      JSON.parse(readFileSync("/etc/ngrokd/ip_mappings.json", "utf8")) as Record<string, string>,
    );
    const next = `127.0.0.${Math.max(...given.map((ip) => Number(ip.split(".")[3]))) + 1}`;
    const occupant = createServer();
    await new Promise<void>((listening) => occupant.listen(9191, next, listening));
    await cloud.add("http://polite.demo:9191", one.address);
    const { ip } = await daemon.becomes("polite.demo", "listening");
    expect([next, ...given]).not.toContain(ip);
    occupant.close();
  });
});

stories("a thousand endpoints", () => {
  test("from ten pages all listen, and a pass without a change writes no file", async () => {
    const { cloud, daemon } = await registered();
    const { address } = page("many");
    await cloud.break("500"); // The daemon sees none until all are there.
    for (let n = 0; n < 1000; n += 50) {
      await Promise.all(
        Array.from({ length: 50 }, (_, i) => cloud.add(`http://many-${n + i}.demo`, address)),
      );
    }
    expect((await daemon.status()).endpoint_count).toBe(0);
    await cloud.mend();
    expect((await ngrokd("refresh")).code).toBe(0);
    expect((await daemon.status()).endpoints.listening).toBe(1000);
    expect(await curl("http://many-999.demo/")).toBe("many");

    const state = (): object =>
      Object.fromEntries(
        ["/etc/hosts", "/etc/ngrokd/ip_mappings.json", "/etc/ngrokd"].map((path) => [
          path,
          timesOf(path),
        ]),
      );
    const before = state();
    await ngrokd("refresh");
    await ngrokd("refresh");
    expect(state()).toEqual(before);
    expect(await daemon.stop()).toBe(0);
  });
});

const timesOf = (path: string): object => {
  const { ino, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  return { ino, mtimeNs, ctimeNs };
};

stories("an endpoint on a reserved port", () => {
  test("is listed and not served, so that sshd can start, until the user consents", async () => {
    const { cloud, daemon } = await registered();
    await cloud.add("tcp://ssh.inner:22", page("hello").address);
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
    const [item] = (await daemon.list()).filter(({ url }) => url === "tcp://ssh.inner:22");
    expect(item).toMatchObject({ state: "unsupported" });
    expect(item?.reason).toContain("forward.reserved_ports");
    Bun.listen({ hostname: "0.0.0.0", port: 22, socket: { data() {} } }).stop(true);

    writeConfig(configFor(cloud, { forward: { reserved_ports: [] } }));
    await daemon.reload();
    mkdirSync("/etc/ssh", { recursive: true });
    atEnd(() => rmSync("/etc/ssh", { recursive: true }));
    writeFileSync("/etc/ssh/sshd_config", "Port 22\nPort 2222\n");
    await cloud.add("tcp://other.inner:2222", page("hello").address);
    await daemon.becomes("other.inner", "listening");
    for (const [name, port] of [
      ["ssh.inner", 22],
      ["other.inner", 2222],
    ] as const) {
      const { state, warning } = (await daemon.endpoint(name)) ?? {};
      expect({ name, state }).toEqual({ name, state: "listening" });
      expect(warning).toContain(`"/etc/ssh/sshd_config" wants port ${port} on all addresses`);
    }
    expect((await daemon.endpoint("hello.demo"))?.warning).toBe("");
    const status = await ngrokd("status");
    expect(status.out).toContain("3 listening, 2 with a warning (see `ngrokd list`)");
    expect(await daemon.stop()).toBe(0);
  });
});

import { beforeAll, expect, test } from "bun:test";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { nameServer } from "../names/support.ts";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { type Daemon, examine, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { dial, echo, resolve } from "../support/tcp.ts";
import { page } from "../support/web.ts";

let cloud: Cloud;
let daemon: Daemon;

/** The state and the reason of an endpoint, and whether its name resolves. */
const shown = async (url: string): Promise<string> => {
  const item = (await daemon.list()).find((one) => one.url === url);
  return item === undefined ? "not listed" : `${item.state}: ${item.reason}`;
};
/** The names in our section of the hosts file. */
const section = (): string[] => {
  const [, lines = ""] = readFileSync("/etc/hosts", "utf8").split("# BEGIN ngrokd managed section");
  return [...lines.matchAll(/^127\S+\t(\S+)$/gm)].map(([, name = ""]) => name).sort();
};

/** The output of a command, without its line ends. */
const said = async (words: string): Promise<string> =>
  (await examine(words)).out.replaceAll(/\s+/g, " ");

/** Takes these settings over. */
const settle = async (names: object): Promise<void> => {
  writeConfig(configFor(cloud, { names }));
  await daemon.reload();
  await daemon.refresh();
};

const records = {
  "github.com": ["192.0.2.80"],
  "wiki.corp.example": ["192.0.2.81"],
  "site.example": [],
};

const dns = async (): Promise<void> => {
  const server = await nameServer(records, 53);
  atEnd(server.close);
  writeFileSync("/etc/resolv.conf", "nameserver 127.0.0.1\nsearch corp.example\n");
  atEnd(() => writeFileSync("/etc/resolv.conf", "nameserver 127.0.0.1\n"));
};

stories("an account lists names that this machine needs", () => {
  beforeAll(async () => {
    await dns();
    ({ cloud, daemon } = await registered());
    const { address } = page("ours");
    for (const url of [
      "http://github.com",
      "http://localhost.localdomain",
      "http://corp.example",
      "http://github.io",
      "http://wiki.corp.example",
      "http://wpad.corp.example",
      "http://hello.demo",
      "http://app.internal",
    ])
      await cloud.add(url, address);
    await daemon.refresh();
  });

  test("names in use are refused, and the line that is named allows them", async () => {
    const allows = (name: string) => `names.allow: [${name}] in the configuration allows it`;
    // If the name servers are slow, a name waits for its answer.
    // One without an answer for a second is checked again in a minute.
    await until(
      "the names are checked",
      async () =>
        section().join() === "app.internal,hello.demo" &&
        (await shown("http://github.com")).startsWith('refused: "github.com" leads'),
      { within: 90_000 },
    );
    expect(await shown("http://github.com")).toBe(
      `refused: "github.com" leads to 192.0.2.80 without ngrokd; ${allows("github.com")}`,
    );
    expect(await shown("http://github.io")).toBe(
      `refused: "github.io" is a public suffix, below which people register names; ${allows("github.io")}`,
    );
    expect(await shown("http://corp.example")).toBe(
      `refused: "corp.example" is a search domain of this machine; ${allows("corp.example")}`,
    );
    expect(await shown("http://wpad.corp.example")).toStartWith(
      "refused: programs find their proxy",
    );
    expect(await shown("http://wiki.corp.example")).toStartWith("refused: ");
    expect(await shown("http://localhost.localdomain")).toStartWith("unsupported: ");
    expect(await shown("http://hello.demo")).toBe("listening: ");
    await settle({ allow: ["github.com", "*.corp.example"] });
    expect(section()).toEqual([
      "app.internal",
      "github.com",
      "hello.demo",
      "wiki.corp.example",
      "wpad.corp.example",
    ]);
    expect((await run(["curl", "-sS", "http://github.com/"])).out).toBe("ours");
    await settle({});
    await until("github.com is refused again", async () => !section().includes("github.com"));
    expect(await resolve("github.com")).toBe("192.0.2.80");
  });

  test("status, plan, doctor, why and metrics show that a name is refused", async () => {
    const reason = '"github.com" leads to 192.0.2.80 without ngrokd';
    expect((await daemon.status()).endpoints).toMatchObject({ listening: 2, refused: 5 });
    expect(await said("status")).toContain("5 refused");
    expect(await said("list")).toContain(reason);
    expect(await said("plan")).toContain(`http://github.com: ${reason}`);
    expect(await said("doctor")).toContain(`http://github.com is refused: ${reason}`);
    const why = await examine("why github.com");
    expect(why.code).toBe(1);
    expect(why.out.replaceAll(/\s+/g, " ")).toContain(`its name is refused: ${reason}`);
    const metrics = await (await fetch("http://127.0.0.1:8081/metrics")).text();
    expect(metrics).toContain('ngrokd_endpoints{state="refused"} 5');
    expect((await daemon.status()).phase).toBe("serving");
  });

  test("a name that was served stays served, whatever the name servers say then", async () => {
    const late = await cloud.add("http://late.demo", page("late").address);
    await daemon.refresh();
    await daemon.becomes("late.demo", "listening");
    // One without an answer for a second is checked again in a minute.
    await until(
      "the name servers have answered",
      () => !JSON.parse(readFileSync("/etc/ngrokd/names.json", "utf8")).open.includes("late.demo"),
      { within: 90_000 },
    );
    const liar = await nameServer({ ...records, "late.demo": ["192.0.2.99"] }, 53, "127.0.0.2");
    atEnd(liar.close);
    writeFileSync("/etc/resolv.conf", "nameserver 127.0.0.2\n");
    await daemon.stop();
    daemon = await serve();
    await daemon.becomes("late.demo", "listening");
    await daemon.refresh();
    expect(await shown("http://late.demo")).toBe("listening: ");
    expect(liar.asked.filter((question) => question.startsWith("late.demo"))).toEqual([]);
    await cloud.remove(late);
  });

  test("an answer counts after a restart without name servers", async () => {
    writeFileSync("/etc/resolv.conf", "nameserver 192.0.2.53\n");
    await daemon.stop();
    daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect(await shown("http://github.com")).toStartWith("refused: ");
    // A name without any answer is served.
    await cloud.add("http://fresh.demo", page("fresh").address);
    await daemon.refresh();
    await daemon.becomes("fresh.demo", "listening");
  });

  test("names of an earlier version keep working, and are reported once", async () => {
    writeFileSync("/etc/resolv.conf", "nameserver 127.0.0.1\n");
    await settle({ allow: ["github.com"] });
    await daemon.becomes("github.com", "listening");
    await daemon.stop();
    rmSync("/etc/ngrokd/names.json");
    writeConfig(configFor(cloud));
    const reports = () =>
      daemon.lines().filter(({ message }) => message.startsWith("These names stay served"));
    daemon = await serve();
    await daemon.becomes("github.com", "listening");
    const reported = (): number =>
      reports().filter(({ message }) => message.includes('"github.com" leads to 192.0.2.80'))
        .length;
    // A name server that is slow to answer can make two lines of it.
    await until("it is reported", () => reported() === 1);
    await until(
      "that is noted",
      () => JSON.parse(readFileSync("/etc/ngrokd/names.json", "utf8")).reported === true,
    );
    expect({ levels: reports().every(({ level }) => level === "warn"), n: reported() }).toEqual({
      levels: true,
      n: 1,
    });
    await daemon.stop();
    daemon = await serve();
    await daemon.becomes("github.com", "listening");
    await daemon.refresh();
    expect(reports()).toEqual([]);
  });
});

stories("the user says whose names are served", () => {
  beforeAll(async () => {
    ({ cloud, daemon } = await registered());
    const { address } = page("ours");
    for (const name of ["a.demo", "b.demo", "c.internal"])
      await cloud.add(`http://${name}`, address);
    await daemon.refresh();
  });

  test("names.deny and names.only take names away by a reload, and give them back", async () => {
    await settle({ deny: ["b.*"] });
    expect(section()).toEqual(["a.demo", "c.internal"]);
    expect(await shown("http://b.demo")).toBe('refused: names.deny has "b.*"');
    await settle({ only: ["*.internal"] });
    expect(section()).toEqual(["c.internal"]);
    expect(await shown("http://a.demo")).toBe('refused: names.only has no pattern for "a.demo"');
    await settle({});
    expect(section()).toEqual(["a.demo", "b.demo", "c.internal"]);
  });

  test("an alias leads to the address of its host, and goes with it", async () => {
    await settle({ alias: { "a.demo": ["a", "shop.alias"], "gone.demo": ["gone"] } });
    expect(section()).toEqual(["a", "a.demo", "b.demo", "c.internal", "shop.alias"]);
    expect(await resolve("shop.alias")).toBe((await daemon.endpoint("a.demo"))?.ip);
    expect(await (await fetch("http://shop.alias/")).text()).toBe("ours");
    expect(await said("list")).toContain("also a, shop.alias");
    expect((await examine("why shop.alias")).code).toBe(0);
    // An account cannot take an alias.
    const thief = await cloud.add("http://shop.alias", page("theirs").address);
    await daemon.refresh();
    expect(await shown("http://shop.alias")).toBe(
      'refused: names.alias gives its name to "a.demo"',
    );
    expect(await (await fetch("http://shop.alias/")).text()).toBe("ours");
    await cloud.remove(thief);
    await ngrokd("pause a.demo");
    expect(section()).toEqual(["b.demo", "c.internal"]);
    await ngrokd("resume a.demo");
    await settle({});
    expect(section()).toEqual(["a.demo", "b.demo", "c.internal"]);
  });

  test("a pinned address is the name's, and other names move away from it", async () => {
    const before = await daemon.endpoint("b.demo");
    await settle({ pin: { "a.demo": before?.ip } });
    const [a, b] = [await daemon.endpoint("a.demo"), await daemon.endpoint("b.demo")];
    expect(a).toMatchObject({ ip: before?.ip, state: "listening" });
    expect(b?.state).toBe("listening");
    expect(b?.ip).not.toBe(before?.ip);
    expect(await resolve("a.demo")).toBe(before?.ip);
    await settle({ pin: { "a.demo": "127.0.0.1" } });
    expect(await shown("http://a.demo")).toBe(
      "failed: names.pin gives it 127.0.0.1, which other programs use; name another address there",
    );
    await settle({ pin: { "a.demo": "10.1.2.3" } });
    expect(await shown("http://a.demo")).toContain("which is outside 127.0.0.0/8");
  });

  test("a pinned address that another program has fails that endpoint alone", async () => {
    const other = Bun.listen({ hostname: "127.77.0.9", port: 80, socket: { data() {} } });
    atEnd(() => other.stop(true));
    await settle({ pin: { "a.demo": "127.77.0.9" } });
    expect(await shown("http://a.demo")).toContain("failed: ");
    expect(await daemon.endpoint("a.demo")).toMatchObject({ ip: "127.77.0.9" });
    expect(section()).toEqual(["b.demo", "c.internal"]);
    other.stop(true);
    await daemon.refresh();
    await daemon.becomes("a.demo", "listening");
    await settle({});
  });
});

stories("a name is paused", () => {
  beforeAll(async () => {
    ({ cloud, daemon } = await registered());
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await cloud.add("http://other.demo", page("other").address);
    await daemon.refresh();
  });

  test("its open connections finish, and no new one comes", async () => {
    const { ip } = await daemon.becomes("echo.demo", "listening");
    const peer = await dial("echo.demo", 7000);
    await peer.write("one");
    expect(await peer.read(3)).toBe("one");
    const paused = await ngrokd("pause echo.demo");
    expect(paused.out).toBe(
      "echo.demo is paused until `ngrokd resume echo.demo`. 1 open connection may finish.\n",
    );
    expect(await resolve("echo.demo")).toBeUndefined();
    await expect(dial(ip, 7000)).rejects.toThrow();
    await peer.write("two");
    expect(await peer.read(3)).toBe("two");
    peer.end();
    expect(await peer.rest()).toBe("");
    expect(await daemon.endpoint("other.demo")).toMatchObject({ state: "listening" });
    const { connections } = await until("its end is counted", async () => {
      const now = await daemon.status();
      return now.connections.active === 0 && now;
    });
    expect(connections).toMatchObject({ total: 1, errors: 0 });
  });

  test("the pause is kept over restarts, and shown by list, status and why", async () => {
    await daemon.stop("SIGKILL");
    daemon = await serve();
    await daemon.becomes("other.demo", "listening");
    await daemon.refresh();
    const reason = "it is paused; `ngrokd resume echo.demo` serves it again";
    expect(await shown("tcp://echo.demo:7000")).toBe(`paused: ${reason}`);
    expect(await said("status")).toContain("1 listening, 1 paused");
    expect(await said("why echo.demo")).toContain(reason);
    expect(await said("doctor")).toContain("ok Listeners 1 of 1 listen");
    expect(await said("doctor --all")).toContain(`tcp://echo.demo:7000: ${reason}`);
    expect((await ngrokd("pause echo.demo")).out).toBe("echo.demo was paused before.\n");
  });

  test("resume serves it again at its address, also while ngrok's API is away", async () => {
    const saved = JSON.parse(readFileSync("/etc/ngrokd/ip_mappings.json", "utf8"));
    await cloud.break("500");
    const resumed = await ngrokd("resume echo.demo --json");
    expect(resumed.json).toEqual({ host: "echo.demo", paused: false, changed: true, draining: 0 });
    await daemon.becomes("echo.demo", "listening");
    expect((await daemon.endpoint("echo.demo"))?.ip).toBe(saved["echo.demo"]);
    await cloud.mend();
    const unknown = await ngrokd("pause ecko.demo");
    expect(unknown.code).toBe(2);
    expect(unknown.err).toContain('did you mean "echo.demo"?');
  });
});

stories("an account lists wildcards", () => {
  beforeAll(async () => {
    await dns();
    ({ cloud, daemon } = await registered({ config: { names: expanded } }));
    const { address } = page("wild");
    for (const zone of ["team.demo", "site.example", "co.uk"])
      await cloud.add(`http://*.${zone}`, address);
    await daemon.refresh();
  });
  const expanded = { expand: { "*.team.demo": ["a", "b"], "*.site.example": ["a"] } };

  test("a zone that has names is refused, and allowed by its own line", async () => {
    const line = 'names.allow: ["*.site.example"] in the configuration allows it';
    // One without an answer for a second is checked again in a minute.
    await until(
      "the names are checked",
      async () =>
        section().join() === "a.team.demo,b.team.demo" &&
        (await shown("http://*.site.example")).endsWith(line),
      { within: 90_000 },
    );
    expect(await shown("http://*.co.uk")).toMatch(/^(?:unsupported|refused): /);
    await settle({ ...expanded, allow: ["*.site.example"] });
    expect(section()).toEqual(["a.site.example", "a.team.demo", "b.team.demo"]);
  });

  test("a name below a wildcard can be denied, and the wildcard be paused", async () => {
    await settle({ ...expanded, deny: ["b.team.demo"] });
    expect(section()).toEqual(["a.team.demo"]);
    expect((await ngrokd("pause *.team.demo")).code).toBe(0);
    expect(section()).toEqual([]);
    expect(await shown("http://*.team.demo")).toStartWith("paused: ");
    expect((await ngrokd("resume *.team.demo")).code).toBe(0);
    expect(section()).toEqual(["a.team.demo"]);
  });
});

import { beforeAll, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { type Cloud, configFor, registered, startCloud } from "../support/cloud.ts";
import { type Daemon, examine, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, foreignHosts, freshMachine, stories, until } from "../support/story.ts";
import { resolve } from "../support/tcp.ts";
import { page } from "../support/web.ts";

const hosts = (path = "/etc/hosts"): string => readFileSync(path, "latin1");
const ownSection = /# BEGIN ngrokd managed section\n(?:[^\n]*\n)*# END ngrokd managed section\n?/;
/**
 * Replaces the file as other programs do while the daemon runs. Between
 * truncating and writing, a reader sees an empty file.
 */
const replaceHosts = (text: string): void => {
  writeFileSync("/etc/hosts.new", text, "latin1");
  renameSync("/etc/hosts.new", "/etc/hosts");
};
const works = async (): Promise<boolean> =>
  (await run(["curl", "-sS", "http://hello.demo/"])).out === "hello";

stories("the hosts file is the user's", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    cloud = await startCloud();
    // Both before the first poll, since addresses follow the order in which
    // names appear.
    await cloud.add("http://hello.demo", page("hello").address);
    await cloud.add("http://api.demo", page("api").address);
    writeConfig(configFor(cloud));
    daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    await daemon.becomes("api.demo", "listening");
  });

  test("the names stand in a sorted section of their own at the end of the file", () => {
    const [section = ""] = ownSection.exec(hosts()) ?? [];
    expect(section.split("\n").filter((line) => line !== "" && !line.startsWith("#"))).toEqual([
      "127.0.0.2\tapi.demo",
      "127.0.0.3\thello.demo",
    ]);
    expect(hosts().startsWith(foreignHosts)).toBe(true);
  });

  test("the first original is kept", () => {
    expect(hosts("/etc/ngrokd/hosts.original")).toBe(foreignHosts);
  });

  test("kill -9 leaves names behind; the next start removes them before its first poll", async () => {
    const before = hosts();
    const operators = await cloud.operators();
    await daemon.stop("SIGKILL");
    expect(hosts()).toBe(before);

    // Without its saved list it serves nothing until ngrok replies.
    rmSync("/etc/ngrokd/endpoints.json");
    await cloud.break("500");
    daemon = await serve();
    await until("the poll has failed", async () => (await daemon.status()).phase === "degraded");
    expect(hosts()).toBe(foreignHosts);
    await until("the log tells of it", () =>
      daemon.log().includes('Removed the leftovers of an earlier run from \\"/etc/hosts\\"'),
    );

    await cloud.mend();
    // After many failures the next try is up to a minute away.
    await until("it serves again", async () => (await daemon.status()).phase === "serving", {
      within: 100_000,
    });
    await daemon.becomes("hello.demo", "listening");
    expect(hosts()).toBe(before);
    expect(await works()).toBe(true);
    expect(await cloud.operators()).toEqual(operators);
  });

  test("other programs' lines are kept, and a section that they damage is repaired", async () => {
    replaceHosts(`${foreignHosts}\n192.0.2.9 added.example\n`);
    await until("the section is back", () => ownSection.test(hosts()));
    expect(hosts()).toContain("192.0.2.9 added.example\n");
    appendFileSync("/etc/hosts", "192.0.2.10 behind.example\n");
    await ngrokd("refresh");
    expect(await works()).toBe(true);
    expect(hosts()).toContain("192.0.2.10 behind.example\n");
  });

  test.each([
    ["above the section", (text: string, pin: string) => `${pin}${text}`],
    ["below the section", (text: string, pin: string) => `${text}${pin}`],
  ])("a line of the user's for the same host, %s, counts, and is pointed out", async (_, put) => {
    await until("the section is there", () => ownSection.test(hosts()));
    const pin = "198.51.100.1 Hello.Demo\n";
    replaceHosts(put(hosts(), pin));
    const item = await until("the list gives the reason", async () =>
      (await daemon.list()).find(
        ({ url, state }) => url === "http://hello.demo" && state === "unsupported",
      ),
    );
    expect(item.reason).toContain(
      'another line of the hosts file gives "hello.demo" an address of its own, 198.51.100.1',
    );
    expect(
      hosts()
        .split("\n")
        .filter((line) => /hello\.demo/i.test(line)),
    ).toEqual([pin.trim()]);
    expect(hosts()).toContain("\tapi.demo\n");
    expect(await resolve("hello.demo")).toBe("198.51.100.1");
    const why = (await examine("why hello.demo")).out;
    expect(why).toContain("another line of the hosts file");
    expect(why).not.toContain("remove");
    replaceHosts(foreignHosts);
    await ngrokd("refresh");
    await daemon.becomes("hello.demo", "listening");
  });

  test.each([
    ["spaces for tabs", (text: string) => text.replaceAll("\t", "   ")],
    ["no comment lines", (text: string) => text.replaceAll(/^#.*\n/gm, "")],
    ["neither", (text: string) => text.replaceAll("\t", "   ").replaceAll(/^#.*\n/gm, "")],
  ])("lines that another tool reformats (%s) stay ngrokd's, and go with it", async (_, touch) => {
    daemon = (await daemon.status().catch(() => undefined)) === undefined ? await serve() : daemon;
    await daemon.becomes("hello.demo", "listening");
    const kept = foreignHosts.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    // In place, as `cat new >hosts` does.
    // Between truncation and write, the daemon would find an empty file.
    daemon.kill("SIGSTOP");
    writeFileSync("/etc/hosts", touch(hosts()), "latin1");
    daemon.kill("SIGCONT");
    await until("the section is right again", () => ownSection.test(hosts()));
    expect(hosts().match(/hello\.demo/g)).toHaveLength(1);
    expect(await daemon.stop("SIGTERM")).toBe(0);
    expect(hosts()).not.toContain(".demo");
    for (const line of kept) expect(hosts()).toContain(line.split(/\s+/).at(-1) ?? line);
    // After a kill, `undo` knows them, too.
    daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    await daemon.stop("SIGKILL");
    writeFileSync("/etc/hosts", touch(hosts()), "latin1");
    expect((await examine("doctor")).out).toContain("names that lead nowhere");
    expect((await ngrokd("undo --yes")).code).toBe(0);
    expect(hosts()).not.toContain(".demo");
    writeFileSync("/etc/hosts", foreignHosts);
    daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
  });

  test("after a stop no byte of it is different", async () => {
    await until("the section is there", () => ownSection.test(hosts()));
    expect(await daemon.stop("SIGINT")).toBe(0);
    expect(hosts()).toBe(foreignHosts);
  });

  test("CRLF, the file's mode and a missing last line end survive the daemon's life", async () => {
    const text = "127.0.0.1 localhost\r\n# Windows was here\r\n192.0.2.1 pc";
    await run(["chmod", "640", "/etc/hosts"]);
    writeFileSync("/etc/hosts", text);
    daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect(await resolve("hello.demo")).toBe("127.0.0.3");
    expect(statSync("/etc/hosts").mode & 0o777).toBe(0o640);
    expect(await daemon.stop()).toBe(0);
    expect(hosts()).toBe(text);
    expect(statSync("/etc/hosts").mode & 0o777).toBe(0o640);
  });
});

stories("the hosts file is a bind mount, as in a container", () => {
  test("it is written in place, and clean again after a stop", async () => {
    writeFileSync("/run/mounted-hosts", foreignHosts);
    await run(["mount", "--bind", "/run/mounted-hosts", "/etc/hosts"]);
    atEnd(() => run(["umount", "/etc/hosts"]));
    const { cloud, daemon } = await registered();
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
    expect(await works()).toBe(true);
    expect(hosts("/run/mounted-hosts")).toMatch(ownSection);
    expect(await daemon.stop()).toBe(0);
    expect(hosts("/run/mounted-hosts")).toBe(foreignHosts);
  });
});

stories("another hosts file, and no right to write one", () => {
  test("NGROKD_HOSTS_PATH names the file; /etc/hosts stays as it is", async () => {
    mkdirSync("/run/story", { recursive: true });
    writeFileSync("/run/story/hosts", "127.0.0.1 localhost\n");
    const { cloud, daemon } = await registered({ env: { NGROKD_HOSTS_PATH: "/run/story/hosts" } });
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
    expect(hosts("/run/story/hosts")).toContain("127.0.0.2\thello.demo\n");
    expect(hosts()).toBe(foreignHosts);
    expect((await daemon.status()).hosts_path).toBe("/run/story/hosts");
    expect(await daemon.stop()).toBe(0);
    expect(hosts("/run/story/hosts")).toBe("127.0.0.1 localhost\n");
  });

  test("an unwritable hosts file degrades the daemon with a reason; addresses work", async () => {
    freshMachine();
    const cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud));
    const daemon = await serve({ env: { NGROKD_HOSTS_PATH: "/proc/version" } });
    await daemon.becomes("hello.demo", "listening");
    const { phase, reason } = await daemon.status();
    expect(phase).toBe("degraded");
    expect(reason).toContain("/proc/version");
    const { ip } = await daemon.becomes("hello.demo", "listening");
    expect((await run(["curl", "-sS", `http://${ip}/`])).out).toBe("hello");
    expect(await daemon.stop()).toBe(0);
    expect(existsSync("/proc/version")).toBe(true);
  });
});

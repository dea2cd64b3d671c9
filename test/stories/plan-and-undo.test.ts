import { beforeAll, expect, test } from "bun:test";
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { recordFile } from "../../src/journal/journal.ts";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { type Daemon, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { foreignHosts, stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

const hosts = (): string => readFileSync("/etc/hosts", "latin1");
const journal = () => JSON.parse(readFileSync("/etc/ngrokd/journal.json", "utf8")).changes;
const state = (): string[] => readdirSync("/etc/ngrokd").sort();

stories("plan shows the changes of the next poll", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud, { bound_endpoints: { poll_interval: 3600 } }));
  });

  test("before a registration: that, and nothing is done", async () => {
    const before = state();
    const { code, out } = await ngrokd("plan");
    expect(out).toContain(
      "+ register this machine with ngrok: this machine has not been registered yet",
    );
    expect(out).toContain("No daemon is running");
    expect(code).toBe(0);
    expect(state()).toEqual(before);
    expect(await cloud.operators()).toEqual([]);
  });

  test("beside a daemon that has done it all: nothing", async () => {
    daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect((await ngrokd("plan")).out).toBe("Nothing would change; endpoints served: 1.\n");
  });

  test("lists new, removed and unusable endpoints, and the next poll agrees", async () => {
    const old = await cloud.add("http://old.demo", page("old").address);
    await daemon.refresh();
    await cloud.remove(old);
    await cloud.add("http://new.demo", page("new").address);
    await cloud.add("tcp://new.demo:7000", page("tcp").address);
    await cloud.add("http://localhost", page("never").address);
    const before = { hosts: hosts(), list: await daemon.list() };
    const { code, out } = await ngrokd("plan");
    expect(out.split("\n")).toEqual([
      "Names:",
      "  + new.demo  127.0.0.4",
      "  - old.demo  (127.0.0.3 stays reserved for it)",
      "Listeners:",
      "  + tcp://new.demo:7000  127.0.0.4:7000",
      "  + http://new.demo  127.0.0.4:80",
      "  - http://old.demo  127.0.0.3:80",
      "/etc/hosts:",
      "  + 127.0.0.4  new.demo",
      "  - 127.0.0.3  old.demo",
      "Not served:",
      '  ! http://localhost: "localhost" always means the local machine or network',
      "",
    ]);
    expect(code).toBe(0);
    expect({ hosts: hosts(), list: await daemon.list() }).toEqual(before);
    const { changes } = (await ngrokd("plan --json")).json;
    await daemon.refresh();
    const list = await daemon.list();
    for (const { url, ip, port } of changes.raise)
      expect(list).toContainEqual(expect.objectContaining({ url, ip, port, state: "listening" }));
    expect(changes.raise).toHaveLength(2);
    for (const line of changes.hosts.add) expect(hosts()).toContain(`${line}\n`);
    expect((await ngrokd("plan")).out).toStartWith(
      "Nothing would change; endpoints served: 3.\nNot served:\n",
    );
  });

  test("without a daemon: the changes after a start", async () => {
    expect(await daemon.stop()).toBe(0);
    const { out } = await ngrokd("plan");
    expect(out).toContain("  + http://hello.demo  127.0.0.2:80\n");
    expect(out).toContain("  + # BEGIN ngrokd managed section\n");
    expect(out).not.toContain("Names:");
  });

  test("with a refused key, or without rights: why they are not known", async () => {
    await cloud.break("401*1");
    const refused = await ngrokd("plan");
    expect(refused.code).toBe(1);
    expect(refused.err).toStartWith("error: ");
    expect((await ngrokd("plan", { as: "nobody" })).code).toBe(5);
  });
});

stories("undo takes back ngrokd's changes", () => {
  let cloud: Cloud;

  beforeAll(async () => {
    cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud));
  });

  test("finds nothing on a machine on which ngrokd never ran", async () => {
    const { code, out } = await ngrokd("undo");
    expect(out).toBe("No change of ngrokd is left on this machine.\n");
    expect(code).toBe(0);
    expect(state()).toEqual(["config.yml"]);
  });

  test("refuses beside a running daemon, which removes its own section when it ends", async () => {
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect(journal()).toEqual([{ kind: "hosts", path: "/etc/hosts" }]);
    const { code, err } = await ngrokd("undo --yes");
    expect(err).toContain("A daemon is running on the control socket");
    expect(err).toContain("stop it first");
    expect(code).toBe(6);
    expect(await daemon.stop()).toBe(0);
    expect(journal()).toEqual([]);
  });

  test("with the daemon dead: shows, asks, and takes back section and unchanged files", async () => {
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    await daemon.stop("SIGKILL");
    appendFileSync("/etc/hosts", "192.0.2.9 added.example\n");
    for (const name of ["unit", "changed"]) {
      await recordFile("/etc/ngrokd", `/etc/${name}.service`, "[Unit]\n");
      writeFileSync(`/etc/${name}.service`, "[Unit]\n");
    }
    appendFileSync("/etc/changed.service", "# mine\n");
    const before = hosts();

    const shown = await ngrokd("undo --dry-run");
    expect(shown.out).toBe(
      [
        "Changes of ngrokd on this machine:",
        "  kept  /etc/changed.service: it was changed since ngrokd wrote it",
        "  would be removed  /etc/unit.service",
        "  would be removed  ngrokd's section of /etc/hosts",
        "The hosts file from before ngrokd's first change is in /etc/ngrokd/hosts.original.",
        "",
      ].join("\n"),
    );
    const asked = await ngrokd("undo");
    expect(asked.code).toBe(2);
    expect(asked.err).toContain("`ngrokd undo --yes` does it without a confirmation");
    expect({ hosts: hosts(), unitExists: existsSync("/etc/unit.service") }).toEqual({
      hosts: before,
      unitExists: true,
    });

    const done = await ngrokd("undo --yes --json");
    expect(done.json.done).toBe(true);
    expect(
      done.json.steps.map(({ path, action }: { path: string; action: string }) => [path, action]),
    ).toEqual([
      ["/etc/changed.service", "keep"],
      ["/etc/unit.service", "take back"],
      ["/etc/hosts", "take back"],
    ]);
    expect(done.code).toBe(1);
    expect(hosts()).toBe(`${foreignHosts}\n192.0.2.9 added.example\n`);
    expect(existsSync("/etc/unit.service")).toBe(false);
    expect(readFileSync("/etc/changed.service", "utf8")).toBe("[Unit]\n# mine\n");
    await run(["rm", "/etc/changed.service"]);
    expect((await ngrokd("undo --yes")).code).toBe(0);
    expect(journal()).toEqual([]);
  });

  test("without root: names the needed rights", async () => {
    const { code, err } = await ngrokd("undo --yes", { as: "nobody" });
    expect(code).toBe(5);
    expect(err).toContain("sudo");
  });

  test("leaves a machine on which the daemon can start again", async () => {
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    await until("the name is back", () => hosts().includes("hello.demo"));
    expect(await daemon.stop()).toBe(0);
  });
});

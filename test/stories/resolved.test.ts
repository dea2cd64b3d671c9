import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { type Cloud, registered } from "../support/cloud.ts";
import { type Daemon, ngrokd, run, serve } from "../support/ngrokd.ts";
import { noResolved, type Resolved, startResolved } from "../support/resolved.ts";
import { stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

const story = test.skipIf(noResolved !== "");

stories("names below a wildcard, with systemd-resolved", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  let resolved: Resolved;
  beforeAll(async () => {
    if (noResolved !== "") return;
    resolved = await startResolved();
    const dns = { enabled: true, listen: "127.0.0.55:53" };
    ({ cloud, daemon } = await registered({ config: { dns } }));
    await cloud.add("http://*.team.internal", page("wild").address);
    await daemon.refresh();
  });
  const address = async (name: string): Promise<string> =>
    /^127\S+/.exec((await run(["getent", "hosts", name])).out)?.[0] ?? "";
  const domains = (): Promise<string> => resolved.ctl("domain ngrokd0");

  story("our zone comes to us, and no other name does", async () => {
    await until("it is told", async () => (await domains()).includes("~team.internal"));
    expect(await resolved.ctl("dns ngrokd0")).toMatch(/: 127\.0\.0\.55$/);
    // Made before the domains: a later change would end questions under way.
    for (const setting of ["default-route", "llmnr", "mdns", "dnssec", "dnsovertls"])
      expect(await resolved.ctl(`${setting} ngrokd0`)).toMatch(/ no$/);
    expect(await address("a.team.internal")).toMatch(/^127\./);
    expect((await run(["curl", "-sS", "http://a.team.internal/"])).out).toBe("wild");
    expect((await run(["getent", "hosts", "www.example.com"])).code).not.toBe(0);
    expect((await daemon.status()).warnings).toEqual([]);
    expect(readFileSync("/etc/resolv.conf", "utf8")).toBe("nameserver 127.0.0.53\n");
  });

  story("after its restart, which forgets all, it is told again", async () => {
    // Else the daemon could tell it before it is looked at.
    daemon.kill("SIGSTOP");
    await resolved.restart();
    const afterRestart = await domains();
    daemon.kill("SIGCONT");
    expect(afterRestart).not.toContain("~team.internal");
    await until("it is told again", async () => (await domains()).includes("~team.internal"));
    expect(await address("b.team.internal")).toMatch(/^127\./);
  });

  story("a setting that another program removes is put back", async () => {
    await resolved.ctl("revert ngrokd0");
    await until("it is told again", async () => (await domains()).includes("~team.internal"));
  });

  story("a second wildcard is a second zone, and one that goes takes its zone along", async () => {
    const id = await cloud.add("http://*.other.internal", page("other").address);
    await daemon.refresh();
    await until("both are told", async () => /~other\.internal/.test(await domains()));
    await cloud.remove(id);
    await daemon.refresh();
    await until("one is left", async () => !/~other\.internal/.test(await domains()));
    expect(await domains()).toContain("~team.internal");
  });

  story("after kill -9 the next start is right, and `undo` takes back what is left", async () => {
    await daemon.stop("SIGKILL");
    expect(await domains()).toContain("~team.internal");
    daemon = await serve();
    // Before that, the settings of the killed daemon find the name.
    await until("it has told its own", () =>
      daemon.lines().some(({ message }) => message.startsWith("This machine asks 127.0.0.55:53")),
    );
    await until("it works again", async () => (await address("a.team.internal")) !== "");
    await daemon.stop("SIGKILL");
    expect((await ngrokd("undo --dry-run")).out).toContain(
      "ngrokd's settings of ngrokd0 in systemd-resolved",
    );
    expect((await ngrokd("undo --yes")).code).toBe(0);
    expect(await domains()).not.toContain("~team.internal");
  });

  story("a stop leaves no setting behind", async () => {
    daemon = await serve();
    await until("it is told", async () => (await domains()).includes("~team.internal"));
    expect(await daemon.stop()).toBe(0);
    expect(await domains()).not.toContain("~team.internal");
  });
});

stories("names below a wildcard on a virtual interface, with systemd-resolved", () => {
  let daemon: Daemon;
  let resolved: Resolved;
  beforeAll(async () => {
    if (noResolved !== "") return;
    resolved = await startResolved({ withLink: false });
    const dns = { enabled: true, listen: "10.107.0.1:53" };
    const config = { dns, net: { subnet: "10.107.0.0/16" } };
    const begun = await registered({ config });
    daemon = begun.daemon;
    await begun.cloud.add("http://*.team.internal", page("wild").address);
    await daemon.refresh();
  });
  const told = async (): Promise<boolean> =>
    (await resolved.ctl("domain")).includes("(ngrokd0): ~team.internal");

  story("a name has both addresses, and an address its name", async () => {
    await until("it is told", told);
    const { out } = await run(["getent", "ahosts", "a.team.internal"]);
    expect(out).toMatch(/^10\.107\.\S+/m);
    expect(out).toMatch(/^fd\S+/m);
    const ip = /^10\.107\.\S+/m.exec(out)?.[0] ?? "";
    const ask = ["dig", "@10.107.0.1", "+short", "+tries=1", "+time=30"];
    expect((await run([...ask, "-x", ip])).out).toBe("a.team.internal.\n");
    expect((await run(["curl", "-4sS", "http://a.team.internal/"])).out).toBe("wild");
    expect((await run(["curl", "-6sS", "http://a.team.internal/"])).out).toBe("wild");
    const item = await daemon.endpoint("a.team.internal");
    expect(item).toMatchObject({ state: "listening", ip, ip6: expect.stringMatching(/^fd/) });
    expect((await daemon.status()).warnings).toEqual([]);
  });

  story("ten kills at any moment leave no setting, link or route behind", async () => {
    for (let n = 0; n < 10; n += 1) {
      await daemon.stop("SIGKILL");
      await until(
        "the link is gone",
        async () => (await run(["ip", "link"])).out.includes("ngrokd0") === false,
      );
      await until(
        "systemd-resolved has forgotten it",
        async () => (await resolved.ctl("domain")).includes("team.internal") === false,
      );
      daemon = await serve();
      await Bun.sleep(Math.random() * 600);
    }
    await until("it is told", told);
    expect((await run(["getent", "ahosts", "a.team.internal"])).out).toMatch(/^10\.107\./m);
    expect(await daemon.stop()).toBe(0);
    expect(await resolved.ctl("domain")).not.toContain("team.internal");
  });
});

import { beforeAll, expect, test } from "bun:test";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { type Cloud, configFor, registered, startCloud } from "../support/cloud.ts";
import { untilItRests } from "../support/footprint.ts";
import { type Daemon, run, serve, writeConfig } from "../support/ngrokd.ts";
import { repairedInTime } from "../support/repairs.ts";
import { atEnd, foreignHosts, stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

const hosts = (): string => readFileSync("/etc/hosts", "latin1");
const hasSection = (): boolean =>
  hosts().includes("127.0.0.2\thello.demo\n# END ngrokd managed section");
const hello = async (): Promise<string> =>
  (await run(["curl", "-sS", "--max-time", "60", "http://hello.demo/"])).out;
/** So long that a repair within seconds is not due to the next poll. */
const slowPolls = { bound_endpoints: { poll_interval: 3600 } };

async function serving(): Promise<{ cloud: Cloud; daemon: Daemon }> {
  const cloud = await startCloud();
  await cloud.add("http://hello.demo", page("hello").address);
  writeConfig(configFor(cloud, slowPolls));
  const daemon = await serve({ args: "--json" });
  await daemon.becomes("hello.demo", "listening");
  return { cloud, daemon };
}

stories("damage by other programs is repaired without a poll", () => {
  let daemon: Daemon;
  const told = (text: string): boolean =>
    daemon.lines().some(({ message }) => message.includes(text));

  beforeAll(async () => {
    ({ daemon } = await serving());
  });

  test("a removed hosts section is back within five seconds; foreign lines are kept", async () => {
    await repairedInTime(
      daemon.pid,
      () => writeFileSync("/etc/hosts", `${foreignHosts}\n192.0.2.9 added.example\n`),
      hasSection,
    );
    expect(hosts()).toContain("192.0.2.9 added.example\n");
    expect(await hello()).toBe("hello");
    await until("the log says so", () => told("Restored ngrokd's section of"));
  });

  test("a listener that the system closes listens again, and the daemon then rests", async () => {
    const listens = async (): Promise<boolean> =>
      (await run(["ss", "-Hltn", "src", "127.0.0.2"])).out.includes("127.0.0.2:80");
    expect(await listens()).toBe(true);
    // `ss` names the sockets that it has closed. A check of our own could come
    // after the repair.
    expect(
      (await run(["ss", "-HtnK", "-l", "src", "127.0.0.2", "sport", "=", "80"])).out,
    ).toContain("127.0.0.2:80");
    // The daemon looks again when it notices that it is busy, since Bun spins
    // on such a socket. On a busy machine it gets too little CPU for that, and
    // finds out within a minute.
    await until("it listens again", listens, { within: 70_000 });
    expect(await hello()).toBe("hello");
    await until("the log says so", () =>
      told(
        "The system had closed the listener of http://hello.demo on 127.0.0.2:80; it listens again",
      ),
    );
    await untilItRests(daemon.pid);
  });

  test("a change of the network replaces ready connections and polls at once", async () => {
    const { dials } = (await daemon.status()).pool;
    const lastPoll = async () => (await daemon.status()).last_poll?.time;
    let before: string | undefined;
    let changes = 0;
    await repairedInTime(
      daemon.pid,
      async () => {
        before = await lastPoll();
        changes += 1;
        await run(["ip", "address", "add", `10.99.0.${changes}/32`, "dev", "lo"]);
      },
      async () => (await lastPoll()) !== before,
      6000,
    );
    await until("the log says so", () => told("The network has changed"));
    await until("connections are replaced", async () => (await daemon.status()).pool.dials > dials);
    expect(await hello()).toBe("hello");
  });

  test("a program that keeps removing the section wins the third time; status says so", async () => {
    await until("the section has been put back three times", async () => {
      if (hasSection()) writeFileSync("/etc/hosts", foreignHosts);
      return (await daemon.status()).warnings.some((warning) =>
        warning.includes("Another program keeps removing or changing ngrokd's section of"),
      );
    });
    expect(hosts()).toBe(foreignHosts);
    expect(await daemon.stop()).toBe(0);
    expect(
      daemon.lines().filter(({ message }) => message.includes("Another program keeps")),
    ).toHaveLength(1);
  });
});

stories("a state folder that cannot be written", () => {
  test("which is read-only or full degrades the daemon until it is not; nothing is lost", async () => {
    await run(["mkdir", "-p", "/etc/ngrokd"]);
    await run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", "/etc/ngrokd"]);
    atEnd(() => run(["umount", "-l", "/etc/ngrokd"]));
    const { cloud, daemon } = await registered();
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
    const saved = readFileSync("/etc/ngrokd/ip_mappings.json", "utf8");

    await run(["mount", "-o", "remount,ro", "/etc/ngrokd"]);
    const degraded = await until("it is degraded", async () => {
      const status = await daemon.status();
      return status.phase === "degraded" && status;
    });
    expect(degraded.reason).toContain(
      'Cannot write into the folder "/etc/ngrokd": the file system is read-only',
    );
    await cloud.add("http://late.demo", page("late").address);
    await daemon.becomes("late.demo", "listening");
    expect(await hello()).toBe("hello");
    expect(readFileSync("/etc/ngrokd/ip_mappings.json", "utf8")).toBe(saved);

    await run(["mount", "-o", "remount,rw", "/etc/ngrokd"]);
    await until("it serves again", async () => (await daemon.status()).phase === "serving");
    expect(JSON.parse(readFileSync("/etc/ngrokd/ip_mappings.json", "utf8"))).toEqual({
      "hello.demo": "127.0.0.2",
      "late.demo": "127.0.0.3",
    });

    // On a full disk the saved file stays complete. The new name works all the
    // same, and is saved when there is room.
    await run(["sh", "-c", "dd if=/dev/zero of=/etc/ngrokd/filler bs=4096 2>/dev/null; true"]);
    await cloud.add("http://third.demo", page("third").address);
    await daemon.becomes("third.demo", "listening");
    const full = await until("it is degraded", async () => {
      const status = await daemon.status();
      return status.phase === "degraded" && status;
    });
    expect(full.reason).toContain(
      'Cannot write "/etc/ngrokd/ip_mappings.json": no space left on the device',
    );
    expect(Object.keys(JSON.parse(readFileSync("/etc/ngrokd/ip_mappings.json", "utf8")))).toEqual([
      "hello.demo",
      "late.demo",
    ]);
    rmSync("/etc/ngrokd/filler");
    await until("it serves again", async () => (await daemon.status()).phase === "serving");
    expect(Object.keys(JSON.parse(readFileSync("/etc/ngrokd/ip_mappings.json", "utf8")))).toContain(
      "third.demo",
    );
    expect((await run(["sh", "-c", "ls -A /etc/ngrokd | grep tmp"])).out).toBe("");
    expect(await daemon.stop()).toBe(0);
  });

  test("at the start is waited out", async () => {
    await run(["mount", "-o", "remount,ro", "/etc/ngrokd"]);
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    // The last list is served before the first pass has ended.
    const { reason } = await until("the daemon is degraded", async () => {
      const status = await daemon.status();
      return status.phase === "degraded" && status;
    });
    expect(reason).toContain("the file system is read-only");
    expect((await run(["curl", "-sS", `http://127.0.0.2/`])).out).toBe("hello");

    await run(["mount", "-o", "remount,rw", "/etc/ngrokd"]);
    await until("it serves", async () => (await daemon.status()).phase === "serving");
    expect(await hello()).toBe("hello");
    expect(await daemon.stop()).toBe(0);
  });
});
